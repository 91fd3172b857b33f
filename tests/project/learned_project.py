"""A project that has an adapter already, of random weights; its model and scorer are its own."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from teststrip.project.project import Project
from teststrip.testing.tiny import tiny_pipeline
from teststrip.testing.tiny_lora import tiny_lora
from teststrip.wire.stages.learned import as_bytes

CHECKED = ("a red circle", "a blue square", "a green circle", "an orange square")
TONE = '''
"""How red a picture is, and how dark; black pictures cannot be judged where that is asked."""

from teststrip import png


class Tone:
    columns = {"red@1": True, "dark@1": False}

    def score(self, generations):
        return [self.one(png.pixels(g.png)) for g in generations]

    def one(self, pixels):
        return {"red@1": float(pixels[..., 0].mean()), "dark@1": float(255 - pixels.mean())}


class Blind(Tone):
    def one(self, pixels):
        return {"red@1": float("nan"), "dark@1": 1.0}
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


def write_adapter(folder: Path, **changes: Any) -> None:
    """adapter/adapter.json, as `select` leaves it."""
    lora = {"path": "adapter/pytorch_lora_weights.safetensors", "scale": 0.75}
    recipe = {"model": "models/tiny", "steps": 3, "guidance": 2.0, "loras": [lora]}
    told = {"recipe": recipe, "step": 40, "scale": 0.75, "confirmed": True, "seen": {}}
    (folder / "adapter/adapter.json").write_bytes(as_bytes(told | changes))


def params(folder: Path, **infer: Any) -> None:
    """params.yaml with these keys of `infer`."""
    given = {"prompt": "a black square", "number_images": 3, "scorers": ["project_tone:Tone"]}
    data = {"kind": "lora", "train": {"model_name": "models/tiny"}, "infer": given | infer}
    (folder / "params.yaml").write_text(yaml.safe_dump(data))


def elsewhere(folder: Path, place: Path) -> Project:
    """The same project in another folder, without what stages made."""
    left_out = shutil.ignore_patterns("images", "metrics", "plots", "work", ".dvc", "study")
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
