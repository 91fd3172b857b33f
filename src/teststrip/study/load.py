"""A study file -> its config: YAML, `--set` changes, the prompts file beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.config import read_yaml, with_changes
from teststrip.errors import ConfigError
from teststrip.study.config import StudyConfig, check
from teststrip.study.prompts import read_prompts


def read_study(path: Path, changes: Sequence[str] = ()) -> StudyConfig:
    """Read a study file. Without a `name` in it, the study is named after the file.

    `prompts` may be a list, the name of a file beside the study, or `{file: NAME, template: ...,
    held_out: ...}`. Raises ConfigError with every fault of the file and its prompts.
    """
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: must hold `key: value` lines, got {type(data).__name__}")
    data = with_changes({"name": path.stem} | dict(data), changes)
    return resolve(data, path.parent, str(path))


def resolve(data: Mapping[str, Any], folder: Path, what: str) -> StudyConfig:
    """Validate a study's keys, with a prompts file looked for in `folder`. Raises ConfigError."""
    keys, faults = dict(data), []
    try:
        keys["prompts"] = _with_file(keys.get("prompts"), folder)
    except ConfigError as exc:
        faults.append(f"prompts: {exc}")
    if keys.get("prompts") is None:
        del keys["prompts"]
    return check(keys, what, faults)


def _with_file(prompts: Any, folder: Path) -> Any:
    if isinstance(prompts, str):
        prompts = {"file": prompts}
    if not isinstance(prompts, Mapping) or "file" not in prompts:
        return prompts
    if "items" in prompts:
        raise ConfigError("give `file` or `items`, not both")
    rest = {key: value for key, value in prompts.items() if key != "file"}
    return rest | {"items": read_prompts(folder / str(prompts["file"]))}
