"""Draw the style: pictures that the built-in model makes, each turned into a pencil sketch.

    python examples/train/draw_style.py FOLDER

Writes about 200 sketches (64 x 64 px PNG) and `metadata.jsonl` with captions. The pictures are made
by Teststrip's own engine, so nothing is downloaded; the same call writes the same sketches.
"""

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from teststrip import Block, Engine, Recipe, Request
from teststrip.engine.loading import find_folder
from teststrip.records import Generation

VIEWS = 2
FAINT = 0.04
PAPER, GRAPHITE = (250, 248, 242), (52, 50, 56)
IN_PROMPTS = (
    "owl", "penguin", "rocket", "guitar", "hamburger", "turtle", "house", "cactus",
    "car", "fish", "clock", "crown", "rabbit", "shoe", "pineapple", "snail",
)  # fmt: skip
"""Objects of style.yaml's validation prompts: never drawn here, so the style has to carry over."""


def things() -> list[str]:
    """What is drawn: the objects that the model knows, but for those of the prompts."""
    facts = json.loads((find_folder("builtin") / "teststrip.json").read_text(encoding="utf-8"))
    return [name for name in facts["objects"] if name not in IN_PROMPTS]


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """The built-in model's pictures, 64 x 64 RGB, with the name of what they show."""
    requests = {}
    for number, thing in enumerate(things()):
        prompt = f"a picture of a large {thing} on a gray background"
        for view in range(VIEWS):
            block = Block(prompt=prompt, seed=1000 + VIEWS * number + view)
            requests[Request(recipe=Recipe(steps=12, guidance=2.0), block=block)] = thing
    with Engine.open("builtin", deterministic=True) as engine:
        for outcome in engine.generate(requests):
            if not isinstance(outcome, Generation):
                raise SystemExit(f"a picture could not be made: {outcome.reason}")
            picture = Image.open(io.BytesIO(outcome.png)).convert("RGB")
            yield f"{requests[outcome.request]} {outcome.request.block.seed}", picture


def sketch(picture: Image.Image, grow: int = 1) -> Image.Image:
    """A pencil sketch of `picture` (RGB), `grow` times as large (up to 4): outlines, dark as grey.

    Outlines are the steepest change of any colour channel. Worked out at four times the size, so
    that lines are smooth.
    """
    large = picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.BICUBIC)
    soft = large.filter(ImageFilter.GaussianBlur(2.5))
    slopes = [np.hypot(*np.gradient(np.asarray(c, np.float32) / 255)) for c in soft.split()]
    lines = np.clip(np.maximum.reduce(slopes) * 24 - 0.25, 0, 1)
    tone = np.asarray(large.filter(ImageFilter.GaussianBlur(5)).convert("L"), np.float32) / 255
    ink = np.maximum(lines, np.clip((0.46 - tone) * 2, 0, 0.6))[..., None]
    paper, graphite = (np.array(c, np.float32) for c in (PAPER, GRAPHITE))
    drawn = np.uint8(np.rint(paper + (graphite - paper) * ink))
    size = (picture.width * grow, picture.height * grow)
    return Image.fromarray(drawn).resize(size, Image.Resampling.LANCZOS)


def main() -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where the sketches go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for title, picture in pictures():
        drawn = sketch(picture)
        ink = 1 - np.asarray(drawn.convert("L"), np.float32).mean() / PAPER[0]
        if ink < FAINT:  # grey on grey: nothing to learn from
            continue
        name = f"{title.replace(' ', '-')}.png"
        drawn.save(folder / name)
        rows.append({"file_name": name, "text": f"a sketch of a {title.rpartition(' ')[0]}"})
    rows.sort(key=lambda row: row["file_name"])
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    print(f"{len(rows)} sketches in {folder}")


if __name__ == "__main__":
    main()
