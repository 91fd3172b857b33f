"""One study as its folder tells it, without its tables: cheap enough to be asked each second."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import StudyError
from teststrip.evidence.interval import Interval, interval
from teststrip.studio.live.newest import Shot, newest
from teststrip.study.folder import StudyFolder

if TYPE_CHECKING:
    from teststrip.studio.live.launcher import Launcher
    from teststrip.studio.parts import Parts

ASKED = ("Ctrl-C", "SIGTERM", "the studio", "a stop file")
RUNNING = ("running", "starting", "stopping")
SHOWN_RUNNING, SHOWN_ENDED = 18, 6


@dataclass(frozen=True)
class Leader:
    """Who leads so far. `gain`: over the baseline, positive is better, by prompt; None for the
    baseline itself and where the two share no block."""

    recipe_id: str
    settings: tuple[tuple[str, Any], ...]
    is_baseline: bool
    objective: str
    gain: Interval | None
    blocks: int


@dataclass(frozen=True)
class Status:
    """`state`: running, starting, stopping; stopped, failed, interrupted (killed), budget (spent),
    finished, damaged, imported.

    `expected`: images in all (None: not known yet; `is_exact`: no estimate). `per_minute`, `eta_s`
    and `until` (seconds since 1970) only while it runs. `log`: what the process said, where it
    failed. `can_resume`: by a button here; `budget`: limits that must grow for it.
    """

    name: str
    state: str
    why: str = ""
    doing: str = "search"
    images: int = 0
    expected: int | None = None
    is_exact: bool = False
    saved: int | None = None
    failed: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    objective: str | None = None
    leader: Leader | None = None
    per_minute: float | None = None
    eta_s: float | None = None
    until: float | None = None
    changed: str = ""
    newest: tuple[Shot, ...] = ()
    log: str = ""
    can_resume: bool = False
    budget: tuple[tuple[str, float], ...] = ()

    @property
    def is_running(self) -> bool:
        """Is a process at it?"""
        return self.state in RUNNING


def statuses(launcher: "Launcher", parts: "Parts", ended: int) -> list[Status]:
    """All studies that were ever started: running ones first, then the latest changed.

    Only those that run and the first `ended` of the others have their newest images, and only
    once the index knows them: until then there are no thumbnails.
    """
    found = []
    for path in sorted((parts.home / "studies").glob("*/")):
        folder = StudyFolder(path)
        if folder.exists() or launcher.is_starting(path.name) or launcher.exit_code(path.name):
            found.append(status(folder, launcher))
    found = [s for s in found if s.state != "imported"]  # nothing ever runs there
    found.sort(key=lambda s: s.changed, reverse=True)
    found.sort(key=lambda s: not s.is_running)
    shown = sum(s.is_running for s in found) + ended
    known = {entry.name for entry in parts.index.entries()}
    return [
        _with_newest(s, parts.home) if k < shown and s.name in known else s
        for k, s in enumerate(found)
    ]


def _with_newest(found: Status, home: Path) -> Status:
    folder = StudyFolder(home / "studies" / found.name)
    most = SHOWN_RUNNING if found.is_running else SHOWN_ENDED
    return replace(found, newest=newest(folder, found.objective, most))


def status(folder: StudyFolder, launcher: "Launcher") -> Status:
    """One study; `damaged` where its record cannot be read."""
    name, holder = folder.name, folder.holder()
    code = launcher.exit_code(name)
    starting = holder is None and launcher.is_starting(name)
    if not folder.exists():
        state = "starting" if starting or holder is not None else "failed"
        return Status(name, state, log="" if starting else launcher.log(name))
    try:
        record = _read(folder.path / "study.json")
    except (OSError, ValueError) as exc:
        return Status(name, "damaged", why=f"study.json cannot be read: {exc}")
    if not isinstance(record, dict) or "config" not in record:
        return Status(name, "damaged", why="study.json is not the record of a study")
    told = _progress(folder)
    is_told = holder is not None and holder in (told.get("pid"), 0)
    state = _state(record, folder, holder=holder, starting=starting, is_told=is_told)
    running = state in RUNNING
    result = record.get("result") or {}
    images = told.get("images", result.get("images", 0))
    log = launcher.log(name) if not running and (code or state == "interrupted") else ""
    asked = record.get("why") in ASKED
    eta = told.get("eta_s") if is_told else None
    rate = told.get("images_per_s") if is_told else None
    return Status(
        name=name,
        state=state,
        why="" if running else str(record.get("why") or ""),
        doing=str(told.get("doing", "search")) if is_told else "search",
        images=images,
        expected=told.get("images_expected", result.get("images")),
        is_exact=bool(told.get("is_exact", bool(result))),
        saved=told.get("images_saved", result.get("images_saved")),
        failed=told.get("failed", result.get("rows_failed") or 0),
        failures=tuple(sorted(told.get("failures", {}).items(), key=lambda f: -f[1])),
        objective=told.get("objective", result.get("objective")),
        leader=_leader(folder, told, result),
        per_minute=None if rate is None else 60 * rate,
        eta_s=eta,
        until=None if eta is None else round(told["updated"] + eta),
        changed=str(record.get("changed", "")),
        log="" if asked else log,
        can_resume=_can_resume(record, state),
        budget=_budget(record) if state == "budget" else (),
    )


def _state(
    record: dict[str, Any],
    folder: StudyFolder,
    *,
    holder: int | None,
    starting: bool,
    is_told: bool,
) -> str:
    if holder is not None:
        if folder.stop.exists():
            return "stopping"
        return "running" if is_told else "starting"
    if starting:
        return "starting"
    state = str(record.get("state", "unknown"))
    if state == "stopped" and record.get("why") not in ASKED:
        return "failed"
    return "interrupted" if state == "running" else state


def _leader(folder: StudyFolder, told: dict[str, Any], result: dict[str, Any]) -> Leader | None:
    best = told.get("best")
    if not best or (result and folder.holder() is None and best != result.get("best_id")):
        return None  # the evidence pages know more
    sign = 1 if told["higher_is_better"] else -1
    is_baseline = best == told["baseline"]
    gains = told["best_gains"]
    gain = _interval(tuple(gains.values())).flipped(sign) if gains else None
    return Leader(
        recipe_id=best,
        settings=tuple(told["best_settings"].items()),
        is_baseline=is_baseline,
        objective=told["objective"],
        gain=None if is_baseline else gain,
        blocks=told["best_blocks"],
    )


@lru_cache(maxsize=512)
def _interval(units: tuple[float, ...]) -> Interval:
    return interval(np.array(units))


def _can_resume(record: dict[str, Any], state: str) -> bool:
    if state in RUNNING or record.get("parts") == "python":
        return False
    failed = (record.get("result") or {}).get("rows_failed")
    return state in ("stopped", "failed", "interrupted", "budget") or bool(failed)


def _budget(record: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    limits = record["config"].get("budget") or {}
    return tuple((k, v) for k, v in limits.items() if isinstance(v, int | float))


def _progress(folder: StudyFolder) -> dict[str, Any]:
    try:
        told = _read(folder.progress)
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) and "best_gains" in told else {}


def _read(path: Path) -> Any:
    info = path.stat()
    return _parsed(path, info.st_mtime_ns, info.st_size)


@lru_cache(maxsize=512)
def _parsed(path: Path, changed_ns: int, size: int) -> Any:
    return json.loads(path.read_bytes())


def status_of(name: str, launcher: "Launcher") -> Status:
    """A study by its name. Raises StudyError where there is none."""
    folder = launcher.folder(name)
    if not folder.exists():
        raise StudyError(f"no study {name!r}")
    return status(folder, launcher)
