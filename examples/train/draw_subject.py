"""Draw the subject: a small one-eyed monster that the built-in model has never seen.

    python examples/train/draw_subject.py FOLDER

Writes 24 pictures (64 x 64 px PNG), no captions: DreamBooth gives all of them one prompt. The
monster is always the same; pose, look, size, place and background change. Needs PIL alone.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COUNT, SIZE, FINE = 24, 64, 8
"""How many pictures, their side in px, and how much larger they are drawn before shrinking."""
TEAL, DARK, BELLY = (28, 160, 160), (14, 84, 92), (250, 226, 150)
WHITE, PUPIL, BULB, MOUTH = (252, 252, 250), (38, 30, 60), (245, 88, 60), (120, 30, 60)
BACKGROUNDS = {
    "white": (245, 245, 245), "gray": (135, 135, 140), "red": (205, 40, 40),
    "orange": (240, 135, 35), "yellow": (248, 215, 60), "green": (50, 150, 75),
    "blue": (50, 100, 215), "purple": (125, 60, 175), "pink": (245, 150, 185),
    "black": (22, 22, 26),
}  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """Arms: degrees above the horizontal. Look, place: -1..1. Lean: degrees. Size: share of 64."""

    left_arm: float
    right_arm: float
    look: float
    lean: float
    size: float
    x: float
    y: float
    background: str


def poses() -> list[Pose]:
    """The same 24 poses at every call."""
    rng = np.random.default_rng(7)
    names = list(BACKGROUNDS)
    return [
        Pose(
            *(float(angle) for angle in rng.uniform(-50, 60, 2)),
            look=float(rng.uniform(-1, 1)),
            lean=float(rng.uniform(-12, 12)),
            size=float(rng.uniform(0.72, 0.92)),
            x=float(rng.uniform(-1, 1)),
            y=float(rng.uniform(-1, 1)),
            background=names[number % len(names)],
        )
        for number in range(COUNT)
    ]


def monster(pose: Pose) -> Image.Image:
    """The monster alone, 512 x 512 RGBA, upright: antenna, one eye, striped belly, arms, feet."""
    image = Image.new("RGBA", (SIZE * FINE, SIZE * FINE))
    draw = ImageDraw.Draw(image)
    for side, angle in ((-1, pose.left_arm), (1, pose.right_arm)):
        start = (256 + side * 120, 300)
        end = _towards(start, side, angle, 96)
        draw.line([start, end], fill=DARK, width=44)
        _dot(draw, end, 32, TEAL)
        _dot(draw, (256 + side * 68, 462), 44, DARK)
    draw.line([(256, 120), (256 + 20 * pose.look, 48)], fill=DARK, width=18)
    _dot(draw, (256 + 20 * pose.look, 44), 36, BULB)
    draw.rounded_rectangle((110, 100, 402, 462), radius=140, fill=TEAL)
    draw.ellipse((166, 300, 346, 452), fill=BELLY)
    for top in (338, 384, 424):
        half = 84 * math.sqrt(max(0.0, 1 - ((top + 6 - 376) / 76) ** 2))
        draw.rectangle((256 - half, top, 256 + half, top + 13), fill=BULB)
    _dot(draw, (256, 200), 76, WHITE)
    _dot(draw, (256 + 32 * pose.look, 204), 36, PUPIL)
    _dot(draw, (256 + 32 * pose.look + 14, 190), 11, WHITE)
    draw.chord((216, 254, 296, 304), 0, 180, fill=MOUTH)
    return image


def picture(pose: Pose) -> Image.Image:
    """One training picture: the monster on its background, 64 x 64 RGB."""
    figure = monster(pose).rotate(pose.lean, Image.Resampling.BICUBIC)
    side = round(SIZE * FINE * pose.size)
    figure = figure.resize((side, side), Image.Resampling.LANCZOS)
    room = SIZE * FINE - side
    place = tuple(round(room / 2 * (1 + 0.8 * shift)) for shift in (pose.x, pose.y))
    canvas = Image.new("RGB", (SIZE * FINE, SIZE * FINE), BACKGROUNDS[pose.background])
    canvas.paste(figure, (place[0], place[1]), figure)
    return canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _towards(start: tuple[int, int], side: int, degrees: float, far: int) -> tuple[float, float]:
    angle = math.radians(degrees)
    return start[0] + side * far * math.cos(angle), start[1] - far * math.sin(angle)


def _dot(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: int, colour: tuple[int, ...]
) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def main() -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for number, pose in enumerate(poses()):
        picture(pose).save(folder / f"monster-{number:02}.png")
    print(f"{COUNT} pictures in {folder}")


if __name__ == "__main__":
    main()
