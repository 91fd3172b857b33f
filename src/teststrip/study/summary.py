"""The numbers that a study ends with."""

import resource
import sys

from teststrip.study.result import Ending, StudyResult
from teststrip.study.runner import Runner


def summarise(runner: Runner, ending: Ending) -> StudyResult:
    """What the run came to."""
    best = runner.recipes[runner.leader()]
    cells = [c for c in runner.cells.registered.values() if c.block.split == "search"]
    made = [c for c in cells if runner.ledger.is_made(c.key)]
    seconds = [(runner.ledger.entry(c.key).made or {}).get("seconds") for c in made]
    return StudyResult(
        name=runner.config.name,
        folder=runner.folder.path,
        table=runner.folder.table,
        ending=ending,
        objective=runner.primary.column,
        higher_is_better=runner.primary.highest_is_best,
        best=best,
        best_value=runner.value(best.recipe_id),
        baseline=runner.baseline,
        baseline_value=runner.value(runner.baseline.recipe_id),
        recipes=len(runner.recipes),
        images=len(made),
        images_now=runner.cells.made_now,
        images_failed=sum(1 for c in cells if runner.ledger.entry(c.key).is_failure),
        rows_failed=sum(1 for c in cells if runner.has_failed(c)),
        images_full_grid=len(runner.recipes) * runner.config.top,
        seconds=sum(s for s in seconds if s is not None),
        peak_rss_mb=_peak_rss_mb(),
    )


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
