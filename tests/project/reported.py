"""A project with results that nobody had to train: what the report reads, drawn by hand."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from teststrip.project.metrics import write_metrics
from teststrip.project.scores import Row, Scores
from teststrip.testing.commands import Commands

PROMPTS = tuple(
    f"a picture of a zwx alien on a {colour} background"
    for colour in ("red", "blue", "green", "white", "pink", "black", "grey", "brown")
)
PARAMS = {
    "kind": "dreambooth",
    "train": {"instance_prompt": "a zwx alien", "steps": 40, "learning_rate": 0.001},
    "infer": {"prompt": "a zwx alien in the snow", "number_images": 2, "scorers": ["clip_small"]},
}
CLIP, LPIPS = "clip_small@1", "lpips@1"


def picture(hue: float, seed: int) -> bytes:
    """A soft disc on a ground of its own, so that contact sheets can be looked at."""
    y, x = np.mgrid[0:64, 0:64] / 64
    noise = np.random.default_rng(seed).random(2)
    disc = np.exp(-(((x - 0.3 - 0.4 * noise[0]) ** 2 + (y - 0.3 - 0.4 * noise[1]) ** 2) / 0.03))
    ground = np.stack(
        [0.5 + 0.5 * np.sin(6.28 * (hue + k / 3)) * np.ones_like(x) for k in range(3)]
    )
    rgb = (ground * (0.45 + 0.3 * y) + disc * (1 - ground) * 0.8).transpose(1, 2, 0)
    out = io.BytesIO()
    Image.fromarray((rgb.clip(0, 1) * 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def write_results(
    root: Path,
    *,
    shift: float = 0.0,
    noise: float = 0.01,
    seed: int = 0,
    prompts: tuple[str, ...] = PROMPTS,
    params: dict | None = None,
    refused: bool = False,
    pictures: bool = True,
    curves: bool = False,
) -> None:
    """A project's params, pictures, scores, curves, metrics and lock records.

    `shift`: how much better the made pictures are by clip; lpips (less is better) does not move.
    """
    given = params or PARAMS
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False, allow_unicode=True))
    rng, rows = np.random.default_rng(seed), []
    for arm in ("made", "reference"):
        gallery = [("gallery", "g", given["infer"]["prompt"], n) for n in range(2)]
        check = [("check", f"p{i}", p, n) for i, p in enumerate(prompts) for n in (20000, 20001)]
        for among, prompt_id, prompt, number in gallery + check:
            png = f"images/{arm}/{prompt_id}-{number}.png"
            base = 0.3 + 0.01 * (hash_of(prompt) % 7) + 0.002 * (number % 2)
            made = arm == "made"
            clip = base + (0.05 + shift + noise * rng.standard_normal() if made else 0)
            scores = {CLIP: round(clip, 6), LPIPS: round(0.5 - base / 2, 6)}
            rows.append(Row(arm, among, prompt_id, prompt, number, png, scores))
            if pictures:
                place = root / png
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(
                    picture(hash_of(prompt) / 97 + (0.2 + shift if made else 0), number)
                )
    Scores((CLIP, LPIPS), tuple(rows)).write(root / "plots/scores.csv")
    if curves:  # drawing them takes as long as all the rest of a report
        write_curves(root, shift, given["train"]["steps"])
    score = {
        "mean": 0.35 + shift,
        "low": 0.34 + shift,
        "high": 0.36 + shift,
        "prompts": len(prompts),
    }
    infer = {
        "made": {CLIP: score, LPIPS: score},
        "reference": {CLIP: score | {"mean": 0.3}},
        "higher_is_better": {CLIP: 1, LPIPS: 0},
    }
    write_metrics(root / "metrics/infer.json", infer)
    write_metrics(root / "metrics/select.json", {"step": 40, "scale": 1.0, "refused": refused})
    write_metrics(root / "metrics/train.json", {"steps": 40, "loss": 0.1 - shift})
    for stage in ("prepare", "train", "select", "infer"):
        write_record(root, stage, given)


def write_curves(root: Path, shift: float, steps: int) -> None:
    rng, out = np.random.default_rng(1), io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["step", "loss", "val_loss", CLIP])
    for step in range(steps + 1):
        loss = 0.1 + 0.1 * math.exp(-step / 12) + 0.02 * rng.standard_normal() - shift
        every = step % 10 == 0
        held = f"{0.12 + 0.08 * math.exp(-step / 10) - shift:.6g}" if every else ""
        table.writerow(
            [step, f"{loss:.6g}" if step else "", held, f"{0.3 + step / 1e3:.6g}" if every else ""]
        )
    place = root / "plots/curves.csv"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(out.getvalue())


def write_record(root: Path, stage: str, params: dict, **changes) -> None:
    """As project/record.py writes them, as far as a report reads them."""
    record = {
        "stage": stage,
        "inputs": {},
        "params": {name: params[name] for name in ("train", "infer") if name in params},
        "outputs": {},
        "code": {"teststrip": "0.1.0", "source_sha256": "a" * 64},
        "environment": {"cpu": "A CPU", "packages": {"torch": "2.13.0"}},
        "device": {"name": "cpu"},
        "made": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
    }
    place = root / "locks" / f"{stage}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(record | changes, sort_keys=True))


def hash_of(prompt: str) -> int:
    """Small and the same in every process."""
    return sum(map(ord, prompt)) % 97


def begin(root: Path) -> Commands:
    """A git repository around it, with one commit of all that is there."""
    commands = Commands(root, home=root.parent / f"{root.name}-home")
    commands.git("init", "-q", "-b", "main")
    return commit(commands, "First")


def commit(commands: Commands, message: str) -> Commands:
    commands.git("add", "-A")
    commands.git("commit", "-q", "-m", message)
    return commands
