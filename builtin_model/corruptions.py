"""Ways to break a picture, for the scorer's negatives and for its test."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Rng = np.random.Generator
"""Each function takes pictures [N,3,64,64] in -1..1 and a strength in 0..1."""


def blur(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """Gaussian blur, deviation 1.5 to 4.5 px."""
    deviation = 1.5 + 3.0 * strength
    reach = torch.arange(-9, 10, dtype=torch.float32)
    line = torch.exp(-((reach / deviation) ** 2) / 2)
    line = (line / line.sum()).expand(3, 1, 1, -1)
    wide = F.conv2d(F.pad(pictures, (9, 9, 0, 0), mode="replicate"), line, groups=3)
    tall = F.pad(wide, (0, 0, 9, 9), mode="replicate")
    return F.conv2d(tall, line.transpose(2, 3), groups=3)


def noise(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """White noise, deviation 0.3 to 1.0 of the half range."""
    return pictures + (0.3 + 0.7 * strength) * torch.randn_like(pictures)


def blotches(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """Coarse coloured noise, as an unfinished denoising leaves it."""
    side = int(rng.choice([8, 16]))
    coarse = torch.randn(len(pictures), 3, side, side)
    coarse = F.interpolate(coarse, size=pictures.shape[2:], mode="bilinear")
    return pictures + (0.4 + 0.6 * strength) * coarse


def shuffle(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """Cut into 2 x 2 or 4 x 4 tiles and deal them out anew."""
    side = 4 if strength > 0.4 else 2
    step = pictures.shape[2] // side
    tiles = pictures.unfold(2, step, step).unfold(3, step, step).flatten(2, 3)
    order = np.roll(np.arange(side**2), 1) if side == 2 else rng.permutation(side**2)
    tiles = tiles[:, :, torch.from_numpy(order)].unflatten(2, (side, side))
    return tiles.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def wash_out(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """Little contrast about the mean colour: 0.45 down to 0.1."""
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (0.45 - 0.35 * strength) * (pictures - mean)


def burn(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """Too much contrast and colour, clipped: as guidance set far too high."""
    gray = pictures.mean(dim=1, keepdim=True)
    return (gray + (2 + 2 * strength) * (pictures - gray)) * (1.5 + 1.5 * strength)


def hide(pictures: Tensor, strength: float, rng: Rng) -> Tensor:
    """Cover a share of the object with the colour of the picture's corner."""
    corner = pictures[:, :, 2:4, 2:4].mean(dim=(2, 3), keepdim=True)
    out, part = pictures.clone(), round(64 * (0.4 + 0.3 * strength))
    where = [np.s_[:part, :], np.s_[-part:, :], np.s_[:, :part], np.s_[:, -part:]]
    rows, columns = where[int(rng.integers(4))]
    out[:, :, rows, columns] = corner
    return out


KINDS: dict[str, Callable[[Tensor, float, Rng], Tensor]] = {
    "blur": blur, "noise": noise, "blotches": blotches, "shuffle": shuffle,
    "wash_out": wash_out, "burn": burn, "hide": hide,
}  # fmt: skip


def corrupt(pictures: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Break every picture in a random way; returns pictures and strengths 0.5..1 for margins."""
    out, severity = pictures.clone(), torch.ones(len(pictures))
    kinds = rng.integers(0, len(KINDS), len(pictures))
    for index, break_it in enumerate(KINDS.values()):
        for rows in np.array_split(np.flatnonzero(kinds == index), 2):
            if len(rows):
                strength = float(rng.random())
                out[rows] = break_it(pictures[rows], strength, rng).clamp(-1, 1)
                severity[rows] = 0.5 + 0.5 * strength
    return out, severity
