"""Settings of a server from the environment: every fault at once, and no secret in any of them."""

import difflib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings
from pydantic_settings import PydanticBaseSettingsSource as Source

from teststrip.errors import ConfigError

Config = TypeVar("Config", bound=BaseSettings)


def read(
    kind: type[Config],
    what: str,
    *,
    files: Collection[str] = (),
    others: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Config:
    """`kind` from <PREFIX><FIELD>, the prefix being that of its `env_prefix`. Raises ConfigError.

    `files`: fields that may be given as <PREFIX><FIELD>_FILE, a file that holds the value.
    `others`: what else may stand in the environment under this prefix. `what` names the settings
    in the error. Empty values count as not set: that is how compose files and shells write it.
    """
    prefix = kind.model_config["env_prefix"]
    given = dict(os.environ if environ is None else environ)
    faults = _unknown(kind, prefix, given, files, others)
    from_files = _from_files(prefix, given, files, faults)
    named = {name: given.get(f"{prefix}{name.upper()}") for name in kind.model_fields}
    values = {name: value for name, value in named.items() if value} | from_files
    config = None
    try:
        config = _only_given(kind).model_validate(values)
    except ValidationError as exc:
        faults += [_line(kind, prefix, fault) for fault in exc.errors(include_url=False)]
    if faults or config is None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"{what}: {count}", faults)
    return config


def _only_given(kind: type[Config]) -> type[Config]:
    """`kind`, but it takes what it is given and looks nowhere else."""

    class Given(kind):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: Source, *_: Source, **__: Source
        ) -> tuple[Source, ...]:
            return (init_settings,)

    return Given


def _unknown(
    kind: type[BaseSettings],
    prefix: str,
    given: Mapping[str, str],
    files: Collection[str],
    others: Collection[str],
) -> list[str]:
    known = {name.upper() for name in kind.model_fields}
    known |= {f"{name.upper()}_FILE" for name in files} | set(others)
    faults = []
    for name in sorted(given):
        short = name.removeprefix(prefix)
        if short != name and short not in known:
            near = difflib.get_close_matches(short, known, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else ""
            faults.append(f"{name}: unknown setting{hint}")
    return faults


def _from_files(
    prefix: str, given: Mapping[str, str], names: Collection[str], faults: list[str]
) -> dict[str, SecretStr]:
    found = {}
    for name in names:
        variable = f"{prefix}{name.upper()}"
        file = given.get(f"{variable}_FILE")
        if not file:
            continue
        if given.get(variable):
            faults.append(f"{variable} and {variable}_FILE are both set; set one of them")
            continue
        try:
            found[name] = SecretStr(Path(file).read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as exc:
            faults.append(f"{variable}_FILE={file}: cannot be read: {exc}")
    return found


def _line(kind: type[BaseSettings], prefix: str, fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if not where:
        return str(message)  # about several settings: what was given may hold a secret
    field = kind.model_fields.get(str(fault["loc"][0]))
    is_secret = field is None or "SecretStr" in str(field.annotation)
    got = "" if is_secret else f" (got {str(fault['input'])[:80]!r})"
    return f"{prefix}{where.upper()}: {message}{got}"
