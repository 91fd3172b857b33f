"""Before and after: one picture of a training run, from the files of its folder.

    python examples/train/sheet.py RUN_FOLDER OUT.png [--columns 8]

Top row: some of the pictures trained on. Below: validation pictures of the base model and of the
checkpoints at the same prompts and seeds; the selected one is marked. At the foot the held-out
loss, every held-out picture against itself at step 0, with its 95 % interval.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import stats

from teststrip.evidence.lettering import fit, font, wrap
from teststrip.recipe import Block

SIDE, GAP, LEFT, CURVE, HEAD = 128, 8, 190, 230, 66
PAPER, INK, SOFT, LINE, ACCENT = "#ffffff", "#1b1b1a", "#6f6d68", "#e0ded8", "#b3261e"


@dataclass(frozen=True)
class Point:
    """Held-out loss at `step`: mean difference to step 0 over pictures, and its 95 % interval."""

    step: int
    loss: float
    change: float
    low: float
    high: float


def held_out_curve(lines: list[dict[str, Any]]) -> list[Point]:
    """Points by step from the lines of held_out.jsonl; without step 0 there are none."""
    by_step: dict[int, dict[str, float]] = {}
    for line in lines:
        by_step.setdefault(line["step"], {})[line["picture"]] = line["loss"]
    base = by_step.get(0, {})
    points = []
    for step, losses in sorted(by_step.items()):
        changes = np.array([losses[p] - base[p] for p in base if p in losses])
        if not len(changes):
            continue
        half = 0.0
        if step and len(changes) > 1:
            half = stats.t.ppf(0.975, len(changes) - 1) * changes.std(ddof=1)
            half /= math.sqrt(len(changes))
        mean = float(changes.mean())
        points.append(
            Point(step, float(np.mean(list(losses.values()))), mean, mean - half, mean + half)
        )
    return points


def draw(run: Path, columns: int) -> Image.Image:
    """The sheet of the run in folder `run`."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    chosen = (record.get("selected") or {}).get("step")
    prompts = list(record["config"]["validation"]["prompts"])[:columns]
    seed = record["config"]["validation"]["seeds"][0]
    steps = sorted(int(p.name) for p in (run / "samples").glob("*/") if p.name.isdigit())
    rows = []
    for step in steps:
        name = "base model" if step == 0 else f"step {step}"
        blocks = [Block(prompt=prompt, seed=seed) for prompt in prompts]
        paths = [run / "samples" / str(step) / f"{b.prompt_id}-{b.seed}.png" for b in blocks]
        rows.append((f"{name}, selected" if step == chosen else name, paths))
    width = LEFT + len(prompts) * (SIDE + GAP) + GAP
    top = 2 * GAP + SIDE + HEAD
    image = Image.new("RGB", (width, top + len(rows) * (SIDE + GAP) + CURVE), PAPER)
    pen = ImageDraw.Draw(image)
    _draw_row(image, GAP, "trained on", [_trained(run, record, k) for k in range(len(prompts))])
    for column, prompt in enumerate(prompts):
        x = LEFT + column * (SIDE + GAP)
        for k, line in enumerate(wrap(prompt, 13, SIDE, 3)):
            pen.text((x, top - HEAD + 8 + 16 * k), line, fill=SOFT, font=font(line, 13))
    for number, (name, paths) in enumerate(rows):
        _draw_row(image, top + number * (SIDE + GAP), name, paths)
    lines = [json.loads(line) for line in (run / "held_out.jsonl").read_text().splitlines()]
    area = (LEFT, top + len(rows) * (SIDE + GAP) + 20, width - 90, image.height - 34)
    _draw_curve(pen, held_out_curve(lines), area, chosen)
    return image


def _draw_row(image: Image.Image, y: int, name: str, paths: list[Path]) -> None:
    pen = ImageDraw.Draw(image)
    text = fit(name, 15, LEFT - 16)
    colour = ACCENT if name.endswith("selected") else INK
    pen.text((12, y + SIDE // 2 - 10), text, fill=colour, font=font(text, 15))
    for column, path in enumerate(paths):
        if path.is_file():
            picture = Image.open(path).convert("RGB").resize((SIDE, SIDE))
            image.paste(picture, (LEFT + column * (SIDE + GAP), y))


def _trained(run: Path, record: dict[str, Any], number: int) -> Path:
    """Picture `number` of those trained on."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    names = [p["name"] for p in manifest["pictures"] if p["split"] == "train"]
    return Path(record["config"]["data"]["source"]) / names[number * len(names) // 12 % len(names)]


def _draw_curve(
    pen: ImageDraw.ImageDraw,
    points: list[Point],
    area: tuple[int, int, int, int],
    chosen: int | None,
) -> None:
    if len(points) < 2:
        return
    left, top, right, bottom = area
    low, high = min(p.low for p in points), max(p.high for p in points)
    x = [left + (right - left) * p.step / points[-1].step for p in points]

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    pen.text((12, top), "held-out loss", fill=INK, font=font("h", 15))
    pen.text((12, top + 20), "against step 0,", fill=SOFT, font=font("a", 13))
    pen.text((12, top + 36), "95 % interval", fill=SOFT, font=font("9", 13))
    pen.line([(left, y(0)), (right, y(0))], fill=LINE, width=2)
    band = [(a, y(p.high)) for a, p in zip(x, points, strict=True)]
    band += [(a, y(p.low)) for a, p in reversed(list(zip(x, points, strict=True)))]
    pen.polygon(band, fill="#efece6")
    pen.line([(a, y(p.change)) for a, p in zip(x, points, strict=True)], fill=INK, width=2)
    for a, point in zip(x, points, strict=True):
        colour = ACCENT if point.step == chosen else INK
        pen.ellipse((a - 4, y(point.change) - 4, a + 4, y(point.change) + 4), fill=colour)
        pen.text((a, bottom + 10), str(point.step), fill=SOFT, font=font("1", 12), anchor="ma")
    for point in (points[0], points[-1]):
        text = f"{point.loss:.3f}"
        at = (right + 12, y(point.change))
        pen.text(at, text, fill=INK, font=font(text, 13), anchor="lm")


def main() -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="the run's folder: TESTSTRIP_HOME/runs/NAME")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--columns", type=int, default=8, help="prompts shown")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    draw(given.run, given.columns).save(given.out, optimize=True)
    print(given.out)


if __name__ == "__main__":
    main()
