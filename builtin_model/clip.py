"""The prompt-alignment scorer: a small stock CLIPModel, trained against hard negatives.

In each batch many pictures share a background and a style, so the object must be read; and every
picture comes with a broken copy (blurred, noisy, shuffled, washed out, ...) that must score lower.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from builtin_model.captions import training_caption
from builtin_model.corruptions import corrupt
from builtin_model.judge import roughen
from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, Scene, batch, random_scene
from builtin_model.progress import Average, Deadline, Reporter, save
from builtin_model.text import noisy_words, tokens, with_noise
from builtin_model.tokenizer import LENGTH

MARGIN = 0.25
GROUP = 16


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A fresh scorer of about 2.5 million weights; pictures 64 x 64 in patches of 8."""
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 384,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": LENGTH,
        **special,
    }  # fmt: skip
    vision = {
        "image_size": 64, "patch_size": 8, "hidden_size": 192, "intermediate_size": 576,
        "num_hidden_layers": 5, "num_attention_heads": 6,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def draw_scenes(rng: np.random.Generator, size: int) -> list[Scene]:
    """Groups of 16 scenes that share background and style, objects differing by chance."""
    scenes = []
    for _ in range(size // GROUP):
        lead = random_scene(rng, held_out=None)
        for _ in range(GROUP):
            s = random_scene(rng, held_out=None)
            scenes.append(Scene(s.thing, lead.background, lead.style, s.size, s.dx, s.dy))
    return scenes


def is_true(scenes: list[Scene], captions: list[str]) -> Tensor:
    """[caption, picture] bool: the caption also fits the picture (object, background, style)."""
    names = list(BACKGROUNDS)
    said = [names[s.background] in c for s, c in zip(scenes, captions, strict=True)]
    thing = torch.tensor([s.thing for s in scenes])
    ground = torch.tensor([s.background for s in scenes])
    style = torch.tensor([s.style for s in scenes])
    same_ground = (ground[:, None] == ground) | ~torch.tensor(said)[:, None]
    return (thing[:, None] == thing) & same_ground & (style[:, None] == style)


class Names(nn.Module):
    """Throw-away classifiers on the picture's unit vector; they speed learning up a lot."""

    def __init__(self) -> None:
        super().__init__()
        self.thing = nn.Linear(128, len(NAMES))
        self.ground = nn.Linear(128, len(BACKGROUNDS))

    def forward(self, image: Tensor, scenes: list[Scene]) -> Tensor:
        """Cross-entropy of object and background."""
        things = torch.tensor([s.thing for s in scenes])
        grounds = torch.tensor([s.background for s in scenes])
        sharp = 10 * image
        loss = F.cross_entropy(self.thing(sharp), things)
        return loss + 0.3 * F.cross_entropy(self.ground(sharp), grounds)


def features(clip: CLIPModel, ids: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors of the captions [B, 128] and of the pictures [P, 128], float32."""
    text = clip.text_projection(clip.text_model(input_ids=ids).pooler_output).float()
    image = clip.visual_projection(clip.vision_model(pixel_values=pictures).pooler_output).float()
    return F.normalize(text, dim=1), F.normalize(image, dim=1)


def clip_loss(cosines: Tensor, truth: Tensor, scale: Tensor, severity: Tensor) -> Tensor:
    """Contrastive loss both ways plus a margin between each picture and its broken copy.

    `cosines` is [B, B + B/2]: clean pictures first, then broken copies of every second one.
    """
    size = len(truth)
    wanted = truth.float()
    both = torch.cat([wanted, torch.zeros_like(wanted[:, ::2])], dim=1)
    loss = F.cross_entropy(scale * cosines, both / both.sum(dim=1, keepdim=True))
    clean = scale * cosines[:, :size].T
    loss = loss + F.cross_entropy(clean, wanted.T / wanted.T.sum(dim=1, keepdim=True))
    gap = cosines[::2, :size:2].diagonal() - cosines[::2, size:].diagonal()
    return loss + 4 * F.relu(MARGIN * severity - gap).mean()


def train_clip(
    work: Path, tokenizer: CLIPTokenizer, end: float, *, size: int = 64, lr: float = 1e-3
) -> None:
    """Train until `end`, going on from a checkpoint when there is one."""
    torch.manual_seed(4)
    clip, path, start, step = new_clip(tokenizer), work / "clip.pt", time.time(), 0
    average, names = Average(clip, 0.99), Names()
    parameters = [*clip.parameters(), *names.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    if path.exists():
        state = torch.load(path)
        clip.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.shadow, average.steps = state["average"], state["step"]
        names.load_state_dict(state["names"])
        step = state["step"]
    deadline, report = Deadline(start, end, flat=0.4), Reporter("clip")
    rng, words = np.random.default_rng(4000 + step), noisy_words(tokenizer)
    torch.manual_seed(4000 + step)
    while True:
        scenes = draw_scenes(rng, size)
        captions = [training_caption(s, rng) for s in scenes]
        truth = is_true(scenes, captions)
        clean = torch.from_numpy(batch(scenes))
        broken, severity = corrupt(clean[::2], rng)
        pictures = torch.cat([roughen(clean, rng).lerp(clean, 0.5), broken])
        ids = tokens(tokenizer, [with_noise(c, words, rng) for c in captions])
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            text, image = features(clip, ids, pictures)
        scale = clip.logit_scale.clamp(max=4.0).exp()
        loss = clip_loss(text @ image.T, truth, scale, severity) + names(image[:size], scenes)
        for group in optimizer.param_groups:
            group["lr"] = lr * deadline.factor()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(clip)
        step += 1
        right = truth.gather(1, (text @ image[:size].T).argmax(dim=1, keepdim=True))
        report.add(step, {"loss": loss.item(), "right": right.float().mean().item()})
        if report.is_save_due() or deadline.done:
            shared = {"model": clip.state_dict(), "optimizer": optimizer.state_dict()}
            save(path, average=average.shadow, step=step, names=names.state_dict(), **shared)
        if deadline.done:
            print(f"clip {step} steps", flush=True)
            return


def load_clip(work: Path, tokenizer: CLIPTokenizer) -> CLIPModel:
    """The averaged weights of the last checkpoint, frozen."""
    clip = new_clip(tokenizer)
    clip.load_state_dict(torch.load(work / "clip.pt")["average"])
    return clip.eval().requires_grad_(False)
