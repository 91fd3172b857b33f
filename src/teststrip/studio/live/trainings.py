"""Training runs as their folders tell it: how far they are, what they make, how they ended.

Who holds the folder's lock runs it; progress.json is advice about that process. A run without a
lock file is another trainer's (docs/runs-format.md) and runs while its run.json says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StudyError
from teststrip.studio.runs.run import Head, heads, read_head, read_run
from teststrip.study.folder import StudyFolder

if TYPE_CHECKING:
    from teststrip.studio.live.launcher import Launcher

RUNNING = ("running", "starting", "stopping")
RESUMABLE = ("stopped", "failed", "interrupted")
ROOM = "runs"
MOST_SHOTS = 12
LOSSES = ("loss", "loss_ema", "val_loss")
TOLD = ("training", "starting", *RESUMABLE, "finished")


@dataclass(frozen=True)
class Shot:
    """A validation image. `version` changes with the file."""

    step: int
    stem: str
    prompt: str
    version: str


@dataclass(frozen=True)
class Training:
    """`state`: running, starting, stopping; stopped, failed, interrupted (killed), finished.

    `doing`: what it does besides training, such as its validation images; else empty. `step` of
    `steps` (None: not said), the latest of each loss, `checkpoints` with images, `written` (ISO):
    when it last wrote. `images_per_s`, `eta_s` and `until` (seconds since 1970) only while it runs.
    `shots`: the newest checkpoint's images. `log`: what its process said, where it was killed.
    """

    name: str
    state: str
    doing: str
    why: str
    step: int
    steps: int | None
    losses: tuple[tuple[str, float], ...]
    checkpoints: int
    written: str
    images_per_s: float | None = None
    eta_s: float | None = None
    until: float | None = None
    shots: tuple[Shot, ...] = ()
    log: str = ""
    can_stop: bool = False
    can_resume: bool = False

    @property
    def is_running(self) -> bool:
        """Is a process at it?"""
        return self.state in RUNNING


def trainings(home: Path, launcher: "Launcher", ended: int) -> list[Training]:
    """Those that run, and the `ended` that ended last; the latest written first."""
    found = []
    for head in heads(home):
        if head.fault or head.folder.parent != home / ROOM:
            continue
        state = _state(head, launcher)
        if state in RUNNING or ended > 0:
            found.append(_training(head, state, launcher))
            ended -= state not in RUNNING
    return sorted(found, key=lambda training: not training.is_running)


def training_of(home: Path, name: str, launcher: "Launcher") -> Training:
    """A training run by its name. Raises StudyError where there is none."""
    folder = launcher.folder(name)
    head = read_head(folder.path) if (folder.path / "run.json").is_file() else None
    if head is None or head.fault or head.folder.parent.name != ROOM:
        raise StudyError(f"no training run {name!r}")
    return _training(head, _state(head, launcher), launcher)


def _state(head: Head, launcher: "Launcher") -> str:
    folder = StudyFolder(head.folder)  # its lock and stop file work alike
    holder = folder.holder()
    if holder is not None:
        if folder.stop.exists():
            return "stopping"
        return "running" if _told(head.folder).get("pid") in (holder, 0) else "starting"
    if launcher.is_starting(head.name):
        return "starting"
    return head.state


def _training(head: Head, state: str, launcher: "Launcher") -> Training:
    told, running = _told(head.folder), state in RUNNING
    if not told:
        told = _from_curves(head)
    steps = sorted(_steps(head.folder))
    doing = str(told.get("doing") or "")
    eta = _number(told.get("eta_s")) if state == "running" else None
    updated = _number(told.get("updated")) or 0.0
    code = launcher.exit_code(head.name)
    is_lost = state == "interrupted" or (state == "failed" and bool(code))
    return Training(
        name=head.name,
        state=state,
        doing="" if doing in TOLD or state != "running" else doing,
        why="" if running else head.why,
        step=int(told.get("step") or 0),
        steps=head.steps,
        losses=tuple((n, v) for n in LOSSES if (v := _number(told.get(n))) is not None),
        checkpoints=len(steps),
        written=_when(updated) if updated else head.changed,
        images_per_s=_number(told.get("images_per_s")) if state == "running" else None,
        eta_s=eta,
        until=None if eta is None else round(updated + eta),
        shots=_shots(head, steps[-1]) if steps else (),
        log=launcher.log(head.name) if is_lost else "",
        can_stop=state == "running" and (head.folder / "lock").exists(),
        can_resume=state in RESUMABLE and (head.folder / "train.yaml").exists(),
    )


def _steps(folder: Path) -> list[int]:
    names = [path.name for path in (folder / "samples").glob("*/")]
    return [int(n) for n in names if n.isascii() and n.isdigit() and len(n) < 16]


def _shots(head: Head, step: int) -> tuple[Shot, ...]:
    order = {prompt: k for k, prompt in enumerate(head.prompts)}
    found = []
    for path in sorted((head.folder / "samples" / str(step)).glob("[!.]*.png")):
        prompt_id, _, seed = path.stem.rpartition("-")
        try:
            info = path.stat()
        except OSError:
            continue  # the run goes back and makes it again
        if seed.isascii() and seed.isdigit():
            text = f"{head.prompts.get(prompt_id, prompt_id)}, seed {seed}"
            shot = Shot(step, path.stem, text, f"{info.st_mtime_ns:x}-{info.st_size:x}")
            found.append((order.get(prompt_id, len(order)), int(seed), shot))
    return tuple(shot for _, _, shot in sorted(found, key=lambda f: f[:2]))[:MOST_SHOTS]


def _from_curves(head: Head) -> dict[str, Any]:
    """What metrics.jsonl says of a run that writes no progress.json."""
    try:
        run = read_run(head.folder)
        written = (head.folder / "metrics.jsonl").stat().st_mtime
    except (StudyError, OSError):
        return {}  # nothing is logged yet
    ends = {name: curve[-1] for name, curve in run.curves.items()}
    step = max((at for at, _ in ends.values()), default=0)
    return {n: value for n, (_, value) in ends.items()} | {"step": step, "updated": written}


def _told(folder: Path) -> Mapping[str, Any]:
    path = folder / "progress.json"
    try:
        info = path.stat()
        found = _parsed(path, info.st_mtime_ns, info.st_size)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=256)
def _parsed(path: Path, changed_ns: int, size: int) -> Any:
    return json.loads(path.read_bytes())


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
