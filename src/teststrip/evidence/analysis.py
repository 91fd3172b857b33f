"""All conclusions of one study, each worked out once: what summary, report and viewer show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.evidence.advice import Advice
from teststrip.evidence.agreement import Agreement
from teststrip.evidence.confirmed import Confirmed
from teststrip.evidence.coverage import Coverage
from teststrip.evidence.effects import Effect
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Grid
from teststrip.evidence.importance import Importance
from teststrip.evidence.luck import Luck
from teststrip.evidence.pareto import Front
from teststrip.evidence.people import People, Vote
from teststrip.evidence.ranking import Ranking
from teststrip.evidence.standing import Standing
from teststrip.evidence.variance import Variance

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


def analyse(table: "pd.DataFrame", facts: StudyFacts, votes: Sequence[Vote] = ()) -> Analysis:
    """Work out everything.

    `table` as `evidence.table.checked` returns it. Raises StudyError where no image has a score,
    ConfigError where the baseline is not in the table.
    """
    raise NotImplementedError
