"""One question put to all checkpoints at once: which have the lowest loss, which the best pictures.

No statistics of its own. A checkpoint is a recipe to `evidence`, a held-out picture (or a
validation prompt) is the unit, and the base model is the baseline; so the tests, the best set and
the correction for many checkpoints are those of every study, with the error rates that were
simulated there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from teststrip.errors import StudyError
from teststrip.evidence.compare import Comparison, against
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Grid, build
from teststrip.evidence.numbers import Numbers, count
from teststrip.evidence.ranking import ALONE, BETTER, WORSE, Ranked, Ranking, rank
from teststrip.evidence.table import checked
from teststrip.train.select.measured import BASE, Measured
from teststrip.train.select.seeds import p_beyond_seeds

if TYPE_CHECKING:
    import pandas as pd

ON_THESE_SEEDS = "better on these seeds only"
LEAST_UNITS = 4  # from here on the paired t test holds its size (evidence/compare.py)
LOSS, PICTURE, PROMPT = "held-out loss", "held-out picture", "validation prompt"


@dataclass(frozen=True)
class Criterion:
    """What one measure says of the checkpoints.

    `unit`: what is independent (`held-out picture`), `units` how many. `ranking`: of all steps,
    best first, against the base model where `has_base`. `leaders`: the checkpoints (without base)
    that cannot be told from the best of them.
    """

    name: str
    unit: str
    units: int
    has_base: bool
    confidence: float
    ranking: Ranking = field(repr=False)
    grid: Grid = field(repr=False)
    table: "pd.DataFrame" = field(repr=False)
    facts: StudyFacts = field(repr=False)

    @property
    def numbers(self) -> Numbers:
        """How its numbers are written: so that checkpoints can be told from each other."""
        rows = [row for row in self.ranking.rows if row.recipe_id != str(BASE)]
        return Numbers.of([row.lag for row in rows if row.lag.units] or [self.ranking.rows[0].mean])

    @property
    def leaders(self) -> tuple[int, ...]:
        """The best set, as steps in order; may hold the base."""
        return tuple(sorted(int(name) for name in self.ranking.best_set))

    @property
    def order(self) -> tuple[int, ...]:
        """All steps, best first."""
        return tuple(int(row.recipe_id) for row in self.ranking.rows)

    def row(self, step: int) -> Ranked | None:
        """A step's place; None where it was not measured."""
        name = str(step)
        return self.ranking.row(name) if name in self.grid.recipes else None

    def verdict(self, step: int) -> str:
        """Against the base model; a score that is better must be so beyond its seeds."""
        row = self.row(step)
        if row is None:
            return ALONE
        if row.verdict == BETTER and self.unit == PROMPT and self.has_base:
            alpha = (1 - self.confidence) / 2 / max(self.ranking.comparisons, 1)
            if p_beyond_seeds(self.grid, str(step), str(BASE)) >= alpha:
                return ON_THESE_SEEDS
        return row.verdict

    def is_better(self, step: int) -> bool:
        """Better than the base model, with evidence, and not on these seeds alone."""
        return self.has_base and self.verdict(step) == BETTER

    def is_worse(self, step: int) -> bool:
        """Worse than the base model, with evidence."""
        row = self.row(step)
        return self.has_base and row is not None and row.verdict == WORSE

    def ranked_against(self, step: int) -> Ranking:
        """The ranking with another reference than the base model."""
        return rank(self.table, replace(self.facts, baseline=str(step)), self.grid)

    def against(self, steps: Iterable[int], reference: int) -> tuple[Comparison, ...]:
        """Each of `steps` against one, Holm-corrected over them."""
        names = [str(step) for step in steps]
        return against(self.grid, names, str(reference), self.confidence)


def loss_of(run: Measured, confidence: float) -> "Criterion | str":
    """The held-out loss of each checkpoint, paired by picture; text says why there is none."""
    if run.held_out is None:
        return "no held-out loss was measured: train with data.held_out above 0"
    rows = run.held_out.rename(columns={"picture": "prompt_id", "loss": "score"}).assign(seed=0)
    return _judge(rows, LOSS, PICTURE, higher=False, confidence=confidence)


def score_of(
    run: Measured,
    column: str,
    confidence: float,
    steps: Iterable[int] | None = None,
    without: Iterable[str] = (),
) -> "Criterion | str":
    """A score of the validation pictures, paired by prompt and seed; text says why there is none.

    `steps`: these checkpoints only (and the base). `without`: prompt ids that are kept back.
    """
    if run.samples is None:
        return "no validation picture was scored: train with validation.prompts"
    rows = run.samples.rename(columns={column: "score"})
    rows = rows[~rows["prompt_id"].isin(list(without))]
    if steps is not None:
        rows = rows[rows["step"].isin([BASE, *steps])]
    higher = run.scores[column]
    return _judge(rows, column, PROMPT, higher=higher, confidence=confidence)


def _judge(
    rows: "pd.DataFrame", name: str, unit: str, *, higher: bool, confidence: float
) -> "Criterion | str":
    units = int(rows["prompt_id"].nunique())
    if units < LEAST_UNITS:
        return (
            f"{name}: {count(units, unit)}; below {LEAST_UNITS} no test can be trusted, so it "
            "says nothing"
        )
    steps = sorted(set(rows["step"].tolist()))
    if len(steps) < 2:
        return f"{name}: measured at step {steps[0]} only, so there is nothing to compare"
    has_base = BASE in steps
    frame = rows[["prompt_id", "seed", "score"]].assign(
        recipe_id=[str(step) for step in rows["step"]]
    )
    facts = StudyFacts(
        name=name,
        objective="score",
        higher_is_better=higher,
        varied=(),
        baseline=str(BASE) if has_base else None,
        confidence=confidence,
    )
    try:
        table = checked(frame, what=name, objective="score")
        grid = build(table, facts)
        ranking = rank(table, facts, grid)
    except StudyError:
        return f"{name}: no number of it is finite"
    has_base = ranking.baseline is not None
    return Criterion(name, unit, units, has_base, confidence, ranking, grid, table, facts)
