"""ServiceConfig from the environment, with every fault at once and no secret in any of them."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings
from pydantic_settings import PydanticBaseSettingsSource as Source

from teststrip.errors import ConfigError
from teststrip.serve.config import ServiceConfig

PREFIX = "TESTSTRIP_SERVICE_"
SECRETS = ("broker", "redis")  # the secret itself has `secret_file`, for each process reads it anew
CLIENT = ("KEY", "URL")  # of those who use a service (`serve.fleet`), not of the service


def read_config(environ: Mapping[str, str] | None = None) -> ServiceConfig:
    """The settings of this process. Raises ConfigError.

    TESTSTRIP_SERVICE_BROKER_FILE and _REDIS_FILE name files that hold what their settings would.
    """
    given = dict(os.environ if environ is None else environ)
    faults = _unknown(given)
    from_files = _from_files(given, faults)
    # An empty value is how compose files and shells write "not set".
    named = {name: given.get(f"{PREFIX}{name.upper()}") for name in ServiceConfig.model_fields}
    values = {name: value for name, value in named.items() if value} | from_files
    config = None
    try:
        config = _Given.model_validate(values)
    except ValidationError as exc:
        faults += [_line(fault) for fault in exc.errors(include_url=False)]
    if faults or config is None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"the service's settings: {count}", faults)
    return config


class _Given(ServiceConfig):
    """Takes what it is given and looks nowhere else."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: Source, *_: Source, **__: Source
    ) -> tuple[Source, ...]:
        return (init_settings,)


def _unknown(given: Mapping[str, str]) -> list[str]:
    known = {name.upper() for name in ServiceConfig.model_fields}
    known |= {f"{name.upper()}_FILE" for name in SECRETS} | set(CLIENT)
    faults = []
    for name in sorted(given):
        short = name.removeprefix(PREFIX)
        if short != name and short not in known:
            near = difflib.get_close_matches(short, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            faults.append(f"{name}: unknown setting{hint}")
    return faults


def _from_files(given: Mapping[str, str], faults: list[str]) -> dict[str, SecretStr]:
    found = {}
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}"
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


def _line(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if not where:
        return str(message)  # about several settings: what was given may hold a secret
    field = ServiceConfig.model_fields.get(str(fault["loc"][0]))
    is_secret = field is None or "SecretStr" in str(field.annotation)
    got = "" if is_secret else f" (got {str(fault['input'])[:80]!r})"
    return f"{PREFIX}{where.upper()}: {message}{got}"
