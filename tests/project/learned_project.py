"""A project that has an adapter already, of random weights; its model and scorer are its own."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from teststrip.project.project import Project
from teststrip.recipe import Block
from teststrip.testing.tiny import tiny_pipeline
from teststrip.testing.tiny_lora import tiny_lora
from teststrip.train.config import TrainConfig
from teststrip.train.measure import table
from teststrip.wire.stages.learned import as_bytes

BODIES = ("fox", "boat", "house", "tree")
CHECKED = ("a red circle", "a blue square", "a green circle", "an orange square")
TONE = '''
"""How red a picture is, how dark, and how little happens in it."""

from teststrip import png


class Tone:
    columns = {"red@1": True, "dark@1": False, "calm@1": True}

    def score(self, generations):
        return [self.one(png.pixels(g.png)) for g in generations]

    def one(self, pixels):
        red, mean = pixels[..., 0].mean(), pixels.mean()
        return {"red@1": float(red), "dark@1": float(255 - mean), "calm@1": -float(pixels.std())}


class Blind(Tone):
    def one(self, pixels):
        return {"red@1": float("nan"), "dark@1": 1.0, "calm@1": 1.0}
'''


def learned_project(folder: Path, **infer: Any) -> Path:
    """Kind lora, at the stage before `infer`; `infer`: keys of that section."""
    tiny_pipeline(folder / "models/tiny")
    tiny_lora(folder / "adapter", folder / "models/tiny", std=2.0)
    (folder / "data").mkdir()
    (folder / "data/prompts.txt").write_text("".join(f"{text}\n" for text in CHECKED))
    (folder / "project_tone.py").write_text(TONE)
    write_adapter(folder)
    params(folder, **infer)
    return folder


VALIDATED = tuple(f"a {c} {what}" for c in ("red", "blue", "green") for what in BODIES)
STEPS = (10, 20)


def trained_project(folder: Path, *, prompts: int = 9, learned: bool = True) -> Path:
    """Kind dreambooth, at the stage before `select`: model/ as `train` leaves it, in miniature.

    Its pictures are calmer than the base model's, by its record and in truth (std of pixels, see
    Tone), and its held-out loss is lower; not so where nothing was `learned`. No training ran.
    """
    learned_project(folder)
    shutil.rmtree(folder / "adapter")
    _pictures(folder / "data/prepared")
    texts = VALIDATED[:prompts]
    config = _config(texts)
    model = folder / "model"
    base = {"model": "models/tiny", "revision": None, "fingerprint": "0123456789abcdef"}
    for step in STEPS:
        place = model / f"checkpoints/{step:06d}"
        std = step / 10 if learned else 0.0
        weights = tiny_lora(place, folder / "models/tiny", std=std).read_bytes()
        meta = {"format": 1, "step": step, "base": base, "config": config}
        meta["sha256"] = hashlib.sha256(weights).hexdigest()
        (place / "checkpoint.json").write_text(json.dumps(meta))
    record = {"format": 1, "kind": "dreambooth", "state": "finished", "config": config}
    record |= {"prompts": {Block(prompt=t, seed=0).prompt_id: t for t in texts}}
    record |= {"scores": {"calm@1": True}, "base": base, "steps": STEPS[-1]}
    (model / "run.json").write_text(json.dumps(record))
    gain = 0.1 if learned else 0.0
    losses = [
        {
            "step": step,
            "picture": f"{k:064x}",
            "loss": 1 + k / 50 - gain * step / 20 + _odd(k, step),
        }
        for step in (0, *STEPS)
        for k in range(6)
    ]
    (model / "held_out.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in losses))
    rows = [
        {"step": step, "prompt": text, "prompt_id": Block(prompt=text, seed=0).prompt_id}
        | {"seed": seed, "image_key": "", "png": ""}
        | {"calm@1": -12 + k / 5 + seed / 10 + 10 * gain * step / 20 + 10 * _odd(k + seed, step)}
        for step in (0, *STEPS)
        for k, text in enumerate(texts)
        for seed in (0, 1, 2, 3)
    ]
    table.write(model / "samples.parquet", rows, ["calm@1"])
    names = sorted(path.name for path in (folder / "data/prepared").iterdir())
    split = [{"name": n, "split": "held_out" if k < 2 else "train"} for k, n in enumerate(names)]
    (model / "manifest.json").write_text(json.dumps({"pictures": split}))
    params(folder, select={"scales": [1.0], "top": 1}, scorers=["project_tone:Tone", "likeness"])
    return folder


def _config(texts: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": "dreambooth-0123456789ab",
        "base": "models/tiny",
        "data": {"source": "data/prepared"},
        "subject": {"instance_prompt": "a zwx alien"},
        "trigger": "zwx",
        "validation": {"prompts": list(texts), "seeds": [0, 1, 2, 3]},
    }
    given["validation"]["recipe"] = {"steps": 3, "guidance": 2.0}
    given["validation"]["scorers"] = ["project_tone:Tone"]
    return TrainConfig.model_validate(given).model_dump(mode="json")


def _odd(k: int, step: int) -> float:
    """Noise that is the same everywhere, -0.01 to 0.01."""
    return ((k * 7 + step * 3) % 11 - 5) / 500 if step else 0.0


def _pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for k in range(6):
        Image.new("RGB", (32, 32), (40 * k, 255 - 40 * k, 90)).save(folder / f"{k}.png")


def write_adapter(folder: Path, **changes: Any) -> None:
    """adapter/adapter.json, as `select` leaves it."""
    lora = {"path": "adapter/pytorch_lora_weights.safetensors", "scale": 0.75}
    recipe = {"model": "models/tiny", "steps": 3, "guidance": 2.0, "loras": [lora]}
    told = {"recipe": recipe, "step": 40, "scale": 0.75, "confirmed": True, "seen": {}}
    (folder / "adapter/adapter.json").write_bytes(as_bytes(told | changes))


def params(folder: Path, select: Mapping[str, Any] | None = None, **infer: Any) -> None:
    """params.yaml with these keys of `infer` and `select`."""
    given = {"prompt": "a black square", "number_images": 3, "scorers": ["project_tone:Tone"]}
    data = {"kind": "lora", "train": {"model_name": "models/tiny"}, "infer": given | infer}
    (folder / "params.yaml").write_text(yaml.safe_dump(data | {"select": dict(select or {})}))


def elsewhere(folder: Path, place: Path) -> Project:
    """The same project in another folder, without what stages made."""
    made = ["images", "metrics", "plots", "work", "study"]
    made += ["adapter"] if (folder / "model").exists() else []
    left_out = shutil.ignore_patterns(*made)
    shutil.copytree(folder, place, ignore=left_out)
    return Project.open(place)


def contents(root: Path, *names: str) -> Mapping[str, bytes]:
    """Every file below these, by its path."""
    found: dict[str, bytes] = {}
    for name in names:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found
