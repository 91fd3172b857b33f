"""The text encoder: a stock CLIPTextModel, first taught what captions say, then kept frozen."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from builtin_model.captions import FILLERS, HELD_OUT_FORMS, training_caption
from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, SIZES, STYLES, random_scene
from builtin_model.progress import Deadline, Reporter, save
from builtin_model.tokenizer import LENGTH, caption_words

WIDTH = 160


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = WIDTH) -> CLIPTextModel:
    """A fresh causal text encoder, 32 tokens long."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=3,
            num_attention_heads=width // 32,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids [B, 32] int64, padded and cut to length."""
    rows = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH)
    return torch.tensor(rows.input_ids)


def noisy_words(tokenizer: CLIPTokenizer) -> list[str]:
    """Words that mean nothing here: fillers and the rest of the vocabulary, no caption word."""
    meaning = caption_words() | set(" ".join(HELD_OUT_FORMS).split())
    known = (t.removesuffix("</w>") for t in tokenizer.get_vocab() if t.endswith("</w>"))
    return FILLERS * 10 + [w for w in known if w.isalpha() and w.isascii() and w not in meaning]


def with_noise(caption: str, words: list[str], rng: np.random.Generator) -> str:
    """The caption, in a third of cases with one to four meaningless words put in anywhere."""
    if rng.random() > 0.35:
        return caption
    parts = caption.split(" ")
    for _ in range(int(rng.integers(1, 5))):
        parts.insert(int(rng.integers(len(parts) + 1)), words[rng.integers(len(words))])
    return " ".join(parts)


class _Heads(nn.Module):
    """Throw-away classifiers on the end token and on the mean token."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [len(NAMES), len(BACKGROUNDS) + 1, len(STYLES), len(SIZES) + 1]
        self.end, self.mean = (nn.Linear(WIDTH, sum(self.sizes)) for _ in range(2))

    def forward(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of cross-entropies; share of captions whose four answers are all right."""
        loss, right = torch.zeros(()), torch.ones(len(labels), dtype=torch.bool)
        for scores in (self.end(hidden[:, -1]), self.mean(hidden.mean(dim=1))):
            for part, label in zip(scores.split(self.sizes, dim=1), labels.T, strict=True):
                loss = loss + F.cross_entropy(part, label)
                right = right & (part.argmax(dim=1) == label)
        return loss, right.float().mean()


def train_text(work: Path, tokenizer: CLIPTokenizer, end: float, *, size: int = 128) -> None:
    """Teach object, background, style and size until `end`; the result is not trained again."""
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    encoder, heads, words = new_text_encoder(tokenizer), _Heads(), noisy_words(tokenizer)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-3)
    deadline, report, step = Deadline(time.time(), end, warm_up_s=5), Reporter("text"), 0
    while not deadline.done:
        scenes = [random_scene(rng) for _ in range(size)]
        captions = [training_caption(s, rng) for s in scenes]
        labels = torch.tensor([[s.thing, s.background, s.style, s.size] for s in scenes])
        for row, caption in enumerate(captions):
            said = set(caption.replace(",", "").split())
            if list(BACKGROUNDS)[scenes[row].background] not in said:
                labels[row, 1] = len(BACKGROUNDS)
            if list(SIZES)[scenes[row].size] not in said:
                labels[row, 3] = len(SIZES)
        ids = tokens(tokenizer, [with_noise(c, words, rng) for c in captions])
        with torch.autocast("cpu", torch.bfloat16):
            hidden = encoder(ids).last_hidden_state
        loss, right = heads(hidden.float(), labels)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * deadline.factor()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        report.add(step, {"loss": float(loss.detach()), "right": float(right)})
    save(work / "text.pt", model=encoder.state_dict())


def load_text(work: Path, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The taught text encoder, frozen."""
    encoder = new_text_encoder(tokenizer)
    encoder.load_state_dict(torch.load(work / "text.pt")["model"])
    return encoder.eval().requires_grad_(False)
