"""Render the training pictures: one emoji on a coloured background, 64 x 64, in three styles.

Needs two Debian packages: apt-get install fonts-noto-color-emoji unicode-data
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from builtin_model.objects import NAMES, OBJECTS

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SIZE = 64
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 245), "gray": (135, 135, 140), "black": (22, 22, 26),
    "red": (205, 40, 40), "orange": (240, 135, 35), "yellow": (248, 215, 60),
    "green": (50, 150, 75), "blue": (50, 100, 215), "purple": (125, 60, 175),
    "pink": (245, 150, 185),
}  # fmt: skip
STYLES = ["plain", "studio", "sticker"]
SIZES = {"large": 54, "small": 40}
SHIFT_PX = 3
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What is in one picture: indices into NAMES, BACKGROUNDS, STYLES and SIZES, and an offset."""

    thing: int
    background: int
    style: int
    size: int
    dx: int = 0
    dy: int = 0


def is_held_out(thing: int, background: int) -> bool:
    """About 10 % of the (object, background) pairs are never shown in training."""
    key = f"{NAMES[thing]}/{list(BACKGROUNDS)[background]}".encode()
    return hashlib.sha256(key).digest()[0] < 26


def random_scene(rng: np.random.Generator, held_out: bool | None = False) -> Scene:
    """Draw a scene; held_out=False only seen pairs, True only unseen pairs, None any pair."""
    while True:
        thing, background = int(rng.integers(len(NAMES))), int(rng.integers(len(BACKGROUNDS)))
        if held_out is None or is_held_out(thing, background) == held_out:
            break
    dx, dy = (int(v) for v in rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2))
    return Scene(thing, background, int(rng.integers(3)), int(rng.integers(2)), dx, dy)


@cache
def _font() -> tuple[dict[int, str], dict[str, object]]:
    font = TTFont(FONT, lazy=True)
    return font.getBestCmap(), font["CBDT"].strikeData[0]


@cache
def bitmap(thing: int) -> Image.Image:
    """The emoji's own 136 x 128 drawing, cropped to its visible part (RGBA)."""
    cmap, strike = _font()
    data = strike[cmap[ord(OBJECTS[thing][0])]].imageData  # type: ignore[attr-defined]
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    return image.crop(image.getchannel("A").getbbox())


@cache
def _layers(thing: int, style: int, size: int) -> tuple[Float, Float, Float]:
    """Colour [96,96,3], alpha [96,96] and shadow [96,96] of one object, centred, in 0..1."""
    side, canvas = list(SIZES.values())[size], 96
    source = bitmap(thing)
    scale = side / max(source.size)
    wide, high = (max(1, round(v * scale)) for v in source.size)
    small = source.resize((wide, high), Image.Resampling.LANCZOS)
    sheet = Image.new("RGBA", (canvas, canvas))
    left, top = (canvas - wide) // 2, (canvas - high) // 2
    sheet.paste(small, (left, top))
    rgba = np.asarray(sheet, np.float32) / 255
    colour, alpha = rgba[..., :3], rgba[..., 3]
    shadow = np.zeros_like(alpha)
    if STYLES[style] == "studio":
        y, x = np.mgrid[:canvas, :canvas].astype(np.float32)
        flat = ((x - canvas / 2) / (wide * 0.5)) ** 2 + ((y - (top + high - 1)) / 3.5) ** 2
        shadow = 0.55 * ndimage.gaussian_filter((flat < 1).astype(np.float32), 2.0)
    if STYLES[style] == "sticker":
        far = ndimage.distance_transform_edt(alpha < 0.5)
        rim = np.clip(3.4 - far, 0, 1).astype(np.float32)
        colour = colour * alpha[..., None] + (1 - alpha[..., None])
        shadow = 0.6 * ndimage.gaussian_filter(np.clip(4.2 - far, 0, 1).astype(np.float32), 0.7)
        alpha = np.maximum(rim, alpha)
    return colour.copy(), alpha.copy(), shadow


@cache
def _backdrop(background: int, style: int) -> Float:
    """Empty background [64,64,3] in 0..1: flat, or lit from above for the studio style."""
    base = np.array(list(BACKGROUNDS.values())[background], np.float32) / 255
    picture = np.broadcast_to(base, (SIZE, SIZE, 3)).copy()
    if STYLES[style] == "studio":
        y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / (SIZE - 1) - 0.5
        light = 1.10 - 0.75 * (x**2 + (y + 0.1) ** 2)
        picture = picture * light[..., None] + 0.06 * (light[..., None] - 0.8)
    return np.clip(picture, 0, 1)


def render(scene: Scene) -> NDArray[np.uint8]:
    """Draw one scene as [64,64,3] uint8."""
    colour, alpha, shadow = _layers(scene.thing, scene.style, scene.size)
    top, left = 16 - scene.dy, 16 - scene.dx
    window = np.s_[top : top + SIZE, left : left + SIZE]
    a, s = alpha[window][..., None], shadow[window][..., None]
    picture = _backdrop(scene.background, scene.style) * (1 - s)
    return np.uint8(np.rint(255 * (picture * (1 - a) + colour[window] * a)))


def batch(scenes: list[Scene]) -> Float:
    """Draw scenes as [B,3,64,64] float32 in -1..1."""
    stack = np.stack([render(s) for s in scenes]).astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(stack.transpose(0, 3, 1, 2))
