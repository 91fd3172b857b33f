"""A YAML file (+ key=value changes) -> a frozen config, with all faults shown together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from teststrip.errors import ConfigError

MAX_CONFIG_BYTES = 4_000_000
Config = TypeVar("Config", bound=BaseModel)


def faults_of(error: ValidationError) -> list[str]:
    """One line per fault: where, what was got, what is accepted."""
    lines = []
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"]) or "(whole)"
        got = repr(fault["input"])
        got = got if len(got) <= 80 else got[:77] + "..."
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown key; remove it or mend its spelling"
        lines.append(f"{where}: {message}" + ("" if got in message else f" (got {got})"))
    return lines


def parse(kind: type[Config], data: Any, what: str) -> Config:
    """Validate `data` as `kind`. Raises ConfigError that lists every fault."""
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        faults = faults_of(exc)
        raise ConfigError(f"{what}: {_count(faults)}", faults) from exc


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ConfigError if it cannot be read or is no YAML."""
    import yaml

    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; is it a study file?")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path}: not valid YAML: {exc}") from exc


def with_changes(data: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b=value` changes (values in YAML) to a copy of nested `data`."""
    import yaml

    out = dict(data)
    for change in changes:
        key, sep, text = change.partition("=")
        if not sep or not key:
            raise ConfigError(f"--set {change!r}: write key=value, for example budget.images=400")
        *parents, last = key.split(".")
        here = out
        for parent in parents:
            child = here.get(parent)
            here[parent] = dict(child) if isinstance(child, dict) else {}
            here = here[parent]
        here[last] = yaml.safe_load(text)
    return out


def _count(faults: Sequence[str]) -> str:
    return "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
