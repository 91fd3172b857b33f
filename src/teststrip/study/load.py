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
    faults = []
    try:
        data["prompts"] = _with_file(data.get("prompts"), path.parent)
    except ConfigError as exc:
        faults.append(f"prompts: {exc}")
    if data.get("prompts") is None:
        del data["prompts"]
    return check(data, str(path), faults)


def _with_file(prompts: Any, folder: Path) -> Any:
    if isinstance(prompts, str):
        prompts = {"file": prompts}
    if not isinstance(prompts, Mapping) or "file" not in prompts:
        return prompts
    if "items" in prompts:
        raise ConfigError("give `file` or `items`, not both")
    rest = {key: value for key, value in prompts.items() if key != "file"}
    return rest | {"items": read_prompts(folder / str(prompts["file"]))}
