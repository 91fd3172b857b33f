"""Draw the pictures that `teststrip project init` lays in a new project.

    python examples/project/draw_samples.py src/teststrip/project/template

Kind dreambooth: 20 drawings of the one-eyed monster, 512 px high or wide, some upright, some
lying, so that `prepare` has something to crop and shrink. Kind lora: 120 pencil sketches with
captions. All have few colours, for they travel in the package: 375 kB together.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import draw_subject

MONSTERS, SKETCHES, GROW = 20, 120, 2
SHAPES = ((512, 512), (640, 512), (512, 576))
COLOURS, GREYS = 48, 12


def monster(pose: draw_subject.Pose, shape: tuple[int, int]) -> Image.Image:
    """The monster in the middle square of a picture of this shape (width, height in px)."""
    figure = draw_subject.monster(pose).rotate(pose.lean, Image.Resampling.BICUBIC)
    side = round(512 * pose.size)
    figure = figure.resize((side, side), Image.Resampling.LANCZOS)
    place = (
        round((shape[0] - side) / 2 + 0.4 * (512 - side) * pose.x),
        round((shape[1] - side) / 2 + 0.4 * (512 - side) * pose.y),
    )
    canvas = Image.new("RGB", shape, draw_subject.BACKGROUNDS[pose.background])
    canvas.paste(figure, place, figure)
    return canvas.quantize(COLOURS, dither=Image.Dither.NONE)


def few_greys(sketch: Image.Image) -> Image.Image:
    """The same sketch in GREYS steps from paper to graphite."""
    import draw_style  # loads torch, which the monsters do not need

    paper, graphite = (np.array(c, np.float32) for c in (draw_style.PAPER, draw_style.GRAPHITE))
    ink = (paper[0] - np.asarray(sketch, np.float32)[..., 0]) / (paper[0] - graphite[0])
    steps = np.uint8(np.rint(np.clip(ink, 0, 1) * (GREYS - 1)))
    drawn = Image.fromarray(steps, "P")
    share = np.arange(GREYS)[:, None] / (GREYS - 1)
    drawn.putpalette(np.uint8(np.rint(paper + (graphite - paper) * share)).tobytes())
    return drawn


def sketches(folder: Path) -> None:
    """The first 120 that are not faint, 128 px, and their captions."""
    import draw_style

    rows: list[dict[str, str]] = []
    for title, picture in draw_style.pictures():
        thing = title.rpartition(" ")[0]
        drawn = few_greys(draw_style.sketch(picture, GROW))
        ink = 1 - np.asarray(drawn.convert("L"), np.float32).mean() / draw_style.PAPER[0]
        if ink < draw_style.FAINT or len(rows) == SKETCHES:
            continue
        name = f"{title.replace(' ', '-')}.png"
        drawn.save(folder / name, optimize=True)
        article = "an" if thing[0] in "aeio" else "a"
        rows.append({"file_name": name, "text": f"a sketch of {article} {thing}"})
    rows.sort(key=lambda row: row["file_name"])
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")


def main() -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("template", type=Path, help="the folder of the kinds")
    template = parser.parse_args().template
    subject, style = (template / kind / "data/images" for kind in ("dreambooth", "lora"))
    for folder in (subject, style):
        folder.mkdir(parents=True, exist_ok=True)
    for number, pose in enumerate(draw_subject.poses()[:MONSTERS]):
        drawn = monster(pose, SHAPES[number % len(SHAPES)])
        drawn.save(subject / f"monster-{number:02}.png", optimize=True)
    sketches(style)


if __name__ == "__main__":
    main()
