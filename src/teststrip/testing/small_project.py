"""A project as `teststrip project init` makes it, with so little to do that tests can run it all.

The files are the template's own; only numbers in params.yaml and the lists of prompts are smaller.
The built-in model is used: 64 x 64 px, a few training steps, pictures in two steps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teststrip.config import read_yaml, with_changes
from teststrip.project.init import init
from teststrip.project.layout import PARAMS, PROMPTS, Kind

CHECKED = (
    "a picture of a zwx alien on a red background",
    "a picture of a zwx alien on a blue background",
    "a sticker of a zwx alien on a green background",
    "a drawing of a zwx alien on a white background",
)
VALIDATED = ("a picture of a zwx alien on a pink background", "a zwx alien on a black background")
SEARCHED = ("a red apple", "a fox in the snow", "a lighthouse", "a bowl of soup")

_FINE_TUNING: dict[str, Any] = {
    "prepare.size": 64,
    "train.image_size": 64,
    "train.steps": 4,
    "train.class_prompt": None,
    "train.settings": {
        "batch": 2,
        "lora": {"rank": 2},
        "every": {"log": 1, "held_out": 2, "checkpoint": 2},
        "validation": {
            "prompts": list(VALIDATED),
            "seeds": [0],
            "recipe": {"steps": 2},
            "draws": 1,
        },
    },
    "select.scales": [1.0],
    "select.top": 1,
}
_SEARCH: dict[str, Any] = {
    "study": {
        "seeds": 1,
        "recipe": {"model": "builtin", "steps": 2},
        "space": {"guidance": [1.0, 4.0]},
        "objectives": ["clip"],
        "race": {"kind": "none"},
    }
}
_PICTURES: dict[str, Any] = {"infer.number_images": 2, "infer.steps": 2, "infer.check_seeds": 1}


def small_project(
    folder: Path,
    *,
    kind: Kind = "dreambooth",
    ci: str = "gitlab",
    model: str = "builtin",
    remote: str = "s3://projects",
    endpoint: str = "",
    changes: Sequence[str] = (),
) -> Path:
    """Make one in `folder` (new or empty); returns it. Git is not begun: `testing.commands.git`.

    `changes`: more of params.yaml, as `train.steps=6`. Raises ConfigError as init does.
    """
    init(folder, kind=kind, ci=ci, model=model, remote=remote, endpoint=endpoint)
    tuned = _SEARCH if kind == "study" else _FINE_TUNING
    change(folder, *(f"{key}={_yaml(value)}" for key, value in (tuned | _PICTURES).items()))
    change(folder, *changes)
    _write_lines(folder / PROMPTS, CHECKED)
    if kind == "study":
        _write_lines(folder / "data/study-prompts.txt", SEARCHED)
    return folder


def change(folder: Path, *changes: str) -> None:
    """Set values in a project's params.yaml, as `train.steps=6`; its comments are lost."""
    import yaml

    path = folder / PARAMS
    data = with_changes(read_yaml(path), changes)
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=10**6))


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
