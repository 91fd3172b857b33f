"""Training runs that say they run: how far, and when they last wrote."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from teststrip.errors import StudyError
from teststrip.studio.runs.run import heads, read_run


@dataclass(frozen=True)
class Training:
    """`step` of `steps` (None: not said), the latest of each loss, when it last logged (ISO)."""

    name: str
    step: int
    steps: int | None
    losses: tuple[tuple[str, float], ...]
    checkpoints: int
    written: str


def trainings(home: Path) -> list[Training]:
    """Those with state `running` in their run.json; one that was killed is still among them."""
    found = []
    for head in heads(home):
        if head.state != "running" or head.fault:
            continue
        try:
            run = read_run(head.folder)
            changed = (head.folder / "metrics.jsonl").stat().st_mtime
            written = datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
        except (StudyError, OSError):
            continue  # nothing is logged yet
        ends = {name: curve[-1] for name, curve in run.curves.items()}
        losses = tuple((n, value) for n, (_, value) in ends.items() if n.endswith("loss"))
        step = max((at for at, _ in ends.values()), default=0)
        count = len(run.checkpoints)
        found.append(Training(head.name, step, head.steps, losses, count, written))
    return found
