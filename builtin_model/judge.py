"""The independent judge: a residual convolution network that names object and background.

It shares nothing with the generator: other architecture, other seed, trained only on rendered
pictures (softened, noised and jittered a little), never on VAE or UNet output.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, batch, random_scene
from builtin_model.progress import Deadline, Reporter, save


class Block(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a shortcut; optionally halves the picture."""

    def __init__(self, wide_in: int, wide: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(wide_in, wide, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(8, wide_in), nn.GroupNorm(8, wide)])
        self.short = nn.Conv2d(wide_in, wide, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H/stride, W/stride]."""
        y = self.first(F.relu(self.norms[0](x)))
        return self.short(x) + self.second(F.relu(self.norms[1](y)))


class Judge(nn.Module):
    """Pictures [B,3,64,64] in -1..1 to object scores [B,124] and background scores [B,10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        widths = [(32, 32, 1), (32, 64, 2), (64, 128, 2), (128, 192, 2)]
        self.blocks = nn.Sequential(*(Block(*w) for w in widths))
        self.norm = nn.GroupNorm(8, 192)
        self.thing = nn.Linear(192, len(NAMES))
        self.background = nn.Linear(192, len(BACKGROUNDS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Scores before softmax."""
        x = F.relu(self.norm(self.blocks(self.stem(pictures)))).mean(dim=(2, 3))
        return self.thing(x), self.background(x)


def roughen(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Mild softness, noise, contrast, brightness and mirror changes, one draw per picture."""
    count = len(pictures)

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32))

    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    half = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    pictures = pictures.lerp(soft, draw(0, 1)).lerp(half, draw(-0.6, 0.8).clamp(0, 1))
    coarse = F.interpolate(torch.randn(count, 3, 16, 16), scale_factor=4, mode="bilinear")
    pictures = pictures + draw(0, 0.12) * torch.randn_like(pictures) + draw(0, 0.15) * coarse
    return (pictures * draw(0.8, 1.15) + draw(-0.08, 0.08)).clamp(-1, 1)


def train_judge(work: Path, end: float, *, size: int = 64, lr: float = 2e-3) -> None:
    """Train on seen and unseen pairs of rendered pictures until `end`; print its accuracy."""
    torch.manual_seed(77)
    rng = np.random.default_rng(77)
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=lr, weight_decay=0.02)
    deadline, report, step = Deadline(time.time(), end, flat=0.4, warm_up_s=5), Reporter("judge"), 0
    while not deadline.done:
        scenes = [random_scene(rng, held_out=None) for _ in range(size)]
        things = torch.tensor([s.thing for s in scenes])
        backgrounds = torch.tensor([s.background for s in scenes])
        pictures = roughen(torch.from_numpy(batch(scenes)), rng)
        with torch.autocast("cpu", torch.bfloat16):
            thing, background = judge(pictures)
        loss = F.cross_entropy(thing.float(), things, label_smoothing=0.05)
        loss = loss + 0.3 * F.cross_entropy(background.float(), backgrounds)
        for group in optimizer.param_groups:
            group["lr"] = lr * deadline.factor()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        right = (thing.argmax(dim=1) == things).float().mean()
        report.add(step, {"loss": loss.item(), "right": right.item()})
    save(work / "judge.pt", model=judge.state_dict())
    print("judge on fresh rendered pictures:", judge_rendered(work), flush=True)


def load_judge(work: Path) -> Judge:
    """The trained judge, frozen."""
    judge = Judge()
    judge.load_state_dict(torch.load(work / "judge.pt")["model"])
    return judge.eval().requires_grad_(False)


def judge_rendered(work: Path, count: int = 2000) -> dict[str, float]:
    """Accuracy on rendered pictures it has not seen (fresh random offsets, no roughening)."""
    rng = np.random.default_rng(770)
    scenes = [random_scene(rng, held_out=True) for _ in range(count)]
    thing, background = load_judge(work)(torch.from_numpy(batch(scenes)))
    right = thing.argmax(dim=1) == torch.tensor([s.thing for s in scenes])
    ground = background.argmax(dim=1) == torch.tensor([s.background for s in scenes])
    return {"object": right.float().mean().item(), "background": ground.float().mean().item()}
