"""Defects that arithmetic can see. No model, no opinion on taste: numpy and PIL only."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teststrip import png
from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.recipe import Frozen
from teststrip.records import Generation

VERSION = 1
log = logging.getLogger(__name__)

# Limits beyond which a measurement counts as a defect: (is higher better?, lowest, highest).
# Set on photographs and drawings of 64 to 640 px: a blur of 2 px falls below the sharpness limit,
# white noise of 23 per channel reaches the noise limit; untouched pictures have no defect.
MEASURES: dict[str, tuple[bool, float | None, float | None]] = {
    "shadows": (False, None, 0.5),
    "highlights": (False, None, 0.8),
    "entropy": (True, 1.5, None),
    "contrast": (True, 0.03, None),
    "saturation": (True, None, None),
    "colourfulness": (True, None, None),
    "sharpness": (True, 10.0, None),
    "noise": (False, None, 15.0),
    "blank": (False, None, 0.5),
}


class TechnicalOptions(Frozen):
    """The technical scorer has no options; anything given is a fault."""


class TechnicalScorer:
    """Nine measurements and their defect count, `technical.defects@1` (0 is a clean picture).

    A picture that cannot be decoded gives NaN everywhere. Thread-safe. Raises ConfigError for
    options that it does not have.
    """

    def __init__(self, **options: Any) -> None:
        parse(TechnicalOptions, options, "scorer technical")

    @property
    def columns(self) -> Mapping[str, bool]:
        """Column name -> is higher better?"""
        better = {_column(name): limits[0] for name, limits in MEASURES.items()}
        return better | {_column("defects"): False}

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Measure each picture by itself."""
        return [self._score(generation) for generation in generations]

    def _score(self, generation: Generation) -> dict[str, float]:
        try:
            found = measure(png.pixels(generation.png))
        except ConfigError as exc:
            log.warning("technical: picture %s: %s", generation.image_key, exc)
            return dict.fromkeys(self.columns, float("nan"))
        scores = {_column(name): value for name, value in found.items()}
        return scores | {_column("defects"): float(len(defects(found)))}


def measure(picture: NDArray[np.uint8]) -> dict[str, float]:
    """Nine numbers of a uint8 [H, W, 3] sRGB picture.

    - shadows, highlights: share of pixels with all channels <= 2 and >= 253 (0 to 1)
    - entropy: of the luma histogram, bits (0 to 8; Shannon 1948)
    - contrast: standard deviation of luma / 255 (RMS contrast, Peli 1990; 0 to 0.5)
    - saturation: mean HSV saturation (0 to 1)
    - colourfulness: Hasler & Suesstrunk 2003; 0 for grey, about 15 slightly, 45 averagely and
      100 extremely colourful
    - sharpness: variance of the Laplacian of luma (Pech-Pacheco et al. 2000); it depends on the
      size in pixels: compare pictures of one size only
    - noise: standard deviation of white noise, 0 to 255 (Immerkaer 1996); fine texture counts too
    - blank: 1 for a picture of one tone (99 % of luma within +-2 of its median), else 0;
      black pictures, as a NaN in the VAE leaves them, are blank too

    Luma is Rec. 601 of the encoded values, 0 to 255. NaN where fewer than 3 x 3 pixels exist.
    """
    rgb = picture.astype(np.float32)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    darkest, brightest = picture.min(axis=2), picture.max(axis=2)
    histogram = np.bincount(luma.round().astype(np.uint8).ravel(), minlength=256) / luma.size
    present = histogram[histogram > 0]
    chroma = (brightest - darkest).astype(np.float32)
    yellow_blue, red_green = (red + green) / 2 - blue, red - green
    spread = float(np.hypot(red_green.std(dtype=np.float64), yellow_blue.std(dtype=np.float64)))
    offset = float(np.hypot(red_green.mean(dtype=np.float64), yellow_blue.mean(dtype=np.float64)))
    near_median = np.abs(luma - np.median(luma)) <= 2
    return {
        "shadows": float((brightest <= 2).mean()),
        "highlights": float((darkest >= 253).mean()),
        "entropy": abs(float(-(present * np.log2(present)).sum())),
        "contrast": float(luma.std(dtype=np.float64) / 255),
        "saturation": float((chroma / np.maximum(brightest, 1)).mean(dtype=np.float64)),
        "colourfulness": spread + 0.3 * offset,
        "sharpness": _sharpness(luma),
        "noise": _noise(luma),
        "blank": float(near_median.mean() >= 0.99),
    }


def defects(measured: Mapping[str, float]) -> list[str]:
    """Names of the measurements that lie outside their limits in `MEASURES`."""
    return [
        name
        for name, (_, low, high) in MEASURES.items()
        if (low is not None and measured[name] < low)
        or (high is not None and measured[name] > high)
    ]


def _sharpness(luma: NDArray[np.float32]) -> float:
    """Variance of the 4-neighbour Laplacian."""
    if min(luma.shape) < 3:
        return float("nan")
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    return float(laplacian.var(dtype=np.float64))


def _noise(luma: NDArray[np.float32]) -> float:
    """Immerkaer, Fast noise variance estimation, 1996: the kernel [1 -2 1]^T [1 -2 1]."""
    if min(luma.shape) < 3:
        return float("nan")
    rows = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(both).mean(dtype=np.float64))


def _column(name: str) -> str:
    return f"technical.{name}@{VERSION}"
