"""Tune: a search over trainings with its objective, its record and its report."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import StorageError, TeststripError

if TYPE_CHECKING:
    from teststrip.train.tune.config import TuneConfig
    from teststrip.train.tune.job import Outcome
    from teststrip.train.tune.report import TuneReport

OnEvent = Callable[["Outcome", int, int], None]


def tune(
    config: "TuneConfig",
    home: Path,
    *,
    track: bool = True,
    device: str = "auto",
    on_event: OnEvent | None = None,
) -> "TuneReport":
    """Run a search, or go on with it; see `train.tune.search` for what it raises."""
    from teststrip.train.tune.objective import Training, find_goal
    from teststrip.train.tune.search import search

    home = home.resolve()  # workers of a cluster start elsewhere
    goal = find_goal(config)
    record = parent = None
    if track:
        from teststrip.train.tune.record import TuneRecord

        record = TuneRecord.of(home, config)
        parent = record.start()
    objective = Training(home, goal, config.measures, track, parent, device)
    try:
        report = search(
            config,
            home,
            objective,
            higher_is_better=goal.higher_is_better,
            on_event=on_event,
        )
    except BaseException as exc:
        if record is not None and not isinstance(exc, StorageError):
            failed = isinstance(exc, TeststripError)
            record.end("failed" if failed else "stopped", str(exc))
        raise
    if record is not None:
        record.finish(report)
    return report
