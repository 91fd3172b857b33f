"""The whole examination: which checks, in which order, and what each of them needs before it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.project.doctor import contents, pipeline, remote, repository, secrets, storage, tools
from teststrip.project.doctor.finding import Finding, Report, skipped
from teststrip.project.doctor.visit import Visit
from teststrip.project.layout import PARAMS, PIPELINE


@dataclass(frozen=True)
class Check:
    """`needs`: checks without which this one can say nothing. `asks`: it asks the remote."""

    name: str
    look: Callable[[Visit], Finding]
    needs: tuple[str, ...] = ()
    asks: bool = False


CHECKS = (
    Check("git", repository.git),
    Check("identity", repository.identity, ("git",)),
    Check("committed", repository.committed, ("git",)),
    Check("kept", repository.kept, ("git",)),
    Check("large", repository.large, ("git",)),
    Check("secrets", secrets.secrets),
    Check("params", contents.params),
    Check("pipeline", pipeline.pipeline),
    Check("pictures", contents.pictures),
    Check("prompts", contents.prompts),
    Check("dvc", tools.dvc),
    Check("commands", tools.commands),
    Check("state", contents.state, ("git", "dvc", "pipeline")),
    Check("disk", tools.disk),
    Check("ci", tools.ci),
    Check("remote", remote.named, ("dvc",)),
    Check("login", storage.login, ("remote",), asks=True),
    Check("write", storage.write, ("login",), asks=True),
    Check("strangers", storage.strangers, ("login",), asks=True),
    Check("pushed", storage.pushed, ("login", "state"), asks=True),
)


def examine(root: Path, *, offline: bool = False) -> Report:
    """Ask everything. `offline`: nothing of the remote.

    Raises ConfigError where the folder is no project at all: neither params.yaml nor dvc.yaml.
    """
    if not root.is_dir() or not any((root / name).is_file() for name in (PARAMS, PIPELINE)):
        raise ConfigError(
            f"{root}: neither {PARAMS} nor {PIPELINE}, so this is no project; go to a project's "
            "folder, or make one: teststrip project init DIR"
        )
    visit = Visit(root, offline)
    found: dict[str, Finding] = {}
    for check in CHECKS:
        found[check.name] = _asked(check, visit, found)
    return Report(str(root.resolve()), tuple(found.values()))


def _asked(check: Check, visit: Visit, found: dict[str, Finding]) -> Finding:
    lost = [name for name in check.needs if found[name].status in ("fail", "skip")]
    if check.asks and visit.offline:
        finding = skipped("not asked (--offline)")
    elif lost:
        finding = skipped(f"needs: {', '.join(lost)}")
    else:
        started = time.monotonic()
        finding = replace(check.look(visit), seconds=time.monotonic() - started)
    return replace(finding, name=check.name)
