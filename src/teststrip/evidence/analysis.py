"""All conclusions of one study, each worked out once: what summary, report and viewer show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.evidence import standing
from teststrip.evidence.advice import Advice, advise
from teststrip.evidence.agreement import Agreement, agreement
from teststrip.evidence.confirmed import Confirmed, confirmed
from teststrip.evidence.coverage import Coverage, coverage
from teststrip.evidence.effects import Effect, effects
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Grid, build
from teststrip.evidence.importance import Importance, importance
from teststrip.evidence.kinds import Kind, kinds
from teststrip.evidence.luck import Luck, luck
from teststrip.evidence.mixed import fit
from teststrip.evidence.pareto import Front, pareto
from teststrip.evidence.people import People, Vote, people
from teststrip.evidence.ranking import Ranking, rank
from teststrip.evidence.standing import Standing
from teststrip.evidence.variance import Variance, decompose

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Analysis:
    """One study's evidence. What cannot be concluded is None or says why, never a made-up number.

    `standings`: by recipe id, for the recipes that ran to the end (at most `standing.MOST`).
    """

    table: "pd.DataFrame"
    facts: StudyFacts
    grid: Grid
    coverage: Coverage
    ranking: Ranking
    luck: Luck | None
    variance: Variance | None
    standings: Mapping[str, Standing]
    effects: tuple[Effect, ...]
    importance: Importance
    front: Front
    agreement: Agreement
    people: People | None
    confirmed: Confirmed | None
    advice: tuple[Advice, ...]
    kinds: tuple[Kind, ...] = ()


def analyse(table: "pd.DataFrame", facts: StudyFacts, votes: Sequence[Vote] = ()) -> Analysis:
    """Work out everything.

    `table` as `evidence.table.checked` returns it. Raises StudyError where no image has a score,
    ConfigError where the baseline is not in the table.
    """
    grid = build(table, facts)
    ranking = rank(table, facts, grid)
    fitted = fit(grid)
    standings = standing.standings(grid, ranking, facts, fitted)
    variance = decompose(grid, fitted, facts.confidence) if fitted else None
    important = importance(table, facts, grid)
    expected = {name: s.gain.mean for name, s in standings.items() if s.gain is not None}
    front = pareto(grid, ranking, facts, _model_calls(table))
    tested = confirmed(table, facts, ranking, expected)
    return Analysis(
        table=table,
        facts=facts,
        grid=grid,
        coverage=coverage(grid),
        ranking=ranking,
        luck=luck(grid, ranking),
        variance=variance,
        standings=standings,
        effects=effects(table, facts, grid, important),
        importance=important,
        front=front,
        agreement=agreement(table, facts, grid, votes),
        people=people(votes, facts.confidence),
        confirmed=tested,
        advice=advise(
            facts=facts,
            ranking=ranking,
            standings=standings,
            variance=variance,
            importance=important,
            confirmed=tested,
            grid=grid,
        ),
        kinds=kinds(table, grid, ranking, facts.confidence),
    )


def _model_calls(table: "pd.DataFrame") -> dict[str, float]:
    """Mean model calls of a search image, by recipe."""
    rows = table[(table["split"] == "search") & table["model_calls"].notna()]
    means = rows.groupby("recipe_id")["model_calls"].mean()
    return {str(name): float(value) for name, value in means.items()}
