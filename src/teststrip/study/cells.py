"""The cells of a study: recipe x block. Each is made at most once, scored, and kept."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as PyGenerator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from teststrip.errors import GenerationError, StudyError
from teststrip.protocols import Generator, Scorer
from teststrip.recipe import Recipe, Request
from teststrip.records import Failure, Generation, Outcome
from teststrip.study.blocks import StudyBlock
from teststrip.study.fingerprints import Fingerprints
from teststrip.study.goals import SECONDS, Goal
from teststrip.study.ledger import Ledger
from teststrip.study.race import Floats, OutOfBudget
from teststrip.study.scoring import ScoringLane

GIVE_UP_AFTER = 8


class Stopped(Exception):  # noqa: N818 - the user's wish, not an error
    """Somebody asked the study to stop; what is made is kept."""


@dataclass(frozen=True)
class Cell:
    """One image of the study: which recipe, which block, under which name."""

    recipe_id: str
    block: StudyBlock
    request: Request
    key: str


@dataclass(frozen=True)
class Limits:
    """What may be spent; None is no limit."""

    images: int | None = None
    minutes: float | None = None


class Cells:
    """Makes and scores cells on demand; a race sees the study through it (`race.Scores`).

    `on_image` is called in this thread after each new image. `should_stop` is asked before each.
    A cell that failed is tried once more by a later process (unless `retry_failed` is off), never
    twice by the same. `done` counts
    cells that were answered, `made_now` the pictures made by this process.
    """

    def __init__(
        self,
        *,
        generator: Generator,
        scorers: Sequence[Scorer],
        ledger: Ledger,
        goals: Sequence[Goal],
        limits: Limits,
        fingerprints: Fingerprints,
        on_image: Callable[[Cell], None],
        should_stop: Callable[[], bool],
        retry_failed: bool = True,
    ) -> None:
        self.registered: dict[tuple[str, str, int], Cell] = {}
        self.done = 0
        self.made_now = 0
        self._generator = generator
        self._ledger = ledger
        self._goals = goals
        self._limits = limits
        self._on_image = on_image
        self._should_stop = should_stop
        self._retry_failed = retry_failed
        self._fingerprints = fingerprints
        self._recipes: dict[str, Recipe] = {}
        self._spent_s = 0.0
        self._failed_in_a_row = 0
        self._lane = ScoringLane(scorers, ledger)

    def close(self, *, wait: bool = True) -> None:
        """Finish scoring what was made and end the thread; without `wait`, leave it behind."""
        if wait:
            self._lane.close()

    @property
    def columns(self) -> Mapping[str, bool]:
        """Score column -> is higher better."""
        return self._lane.columns

    def lift_limits(self) -> None:
        """What comes now was asked for by itself; the search's budget is not for it."""
        self._limits = Limits()

    def add(self, recipe: Recipe) -> None:
        """Make a recipe known, so that it can be asked for by its id."""
        self._recipes.setdefault(recipe.recipe_id, recipe)

    def fetch_blocks(self, needs: Mapping[str, Sequence[StudyBlock]]) -> None:
        """Have these cells made and scored, block by block so that all recipes advance alike.

        Raises OutOfBudget before anything is made if the images would not suffice, Stopped,
        GenerationError if nothing at all can be made, whatever the scorers raise.
        """
        depth = max((len(blocks) for blocks in needs.values()), default=0)
        wanted = [
            self._cell(recipe_id, blocks[i])
            for i in range(depth)
            for recipe_id, blocks in needs.items()
            if i < len(blocks)
        ]
        new = {c.key: c for c in wanted if self._place(c) not in self.registered}
        if len(self.registered) + len(new) > (self._limits.images or math.inf):
            raise OutOfBudget
        for cell in new.values():
            self.registered[self._place(cell)] = cell
            self._spent_s += self._seconds(cell.key) or 0.0
        missing = []
        for cell in new.values():
            failed = self._ledger.entry(cell.key).is_failure
            if not self._ledger.is_made(cell.key) and (self._retry_failed or not failed):
                missing.append(cell)
                continue
            self.done += 1
            if self._ledger.is_made(cell.key) and not self._is_judged(cell.key):
                self._lane.put(self._ledger.generation(cell.key, cell.request))
        try:
            self._make(missing)
        finally:
            self._lane.join()

    def values(self, recipe_id: str, blocks: Sequence[StudyBlock], goal: Goal) -> list[float]:
        """The goal's numbers in their own sense; NaN where a cell failed or is missing."""
        out = []
        for block in blocks:
            cell = self.registered.get((recipe_id, block.split, block.index))
            out.append(self._value(cell.key, goal.column) if cell else math.nan)
        return out

    def matrix(self, ids: Sequence[str], blocks: Sequence[StudyBlock]) -> Floats:
        """All goals, higher is better: [goals, recipes, blocks]."""
        signs = [1.0 if goal.highest_is_best else -1.0 for goal in self._goals]
        rows = [[self.values(i, blocks, goal) for i in ids] for goal in self._goals]
        return np.array(rows, dtype=float) * np.array(signs)[:, None, None]

    def _cell(self, recipe_id: str, block: StudyBlock) -> Cell:
        known = self.registered.get((recipe_id, block.split, block.index))
        if known is not None:
            return known
        recipe = self._recipes[recipe_id]
        request = Request(recipe=recipe, block=block.block)
        return Cell(recipe_id, block, request, request.image_key(self._fingerprints.of(recipe)))

    @staticmethod
    def _place(cell: Cell) -> tuple[str, str, int]:
        return cell.recipe_id, cell.block.split, cell.block.index

    def _make(self, missing: Sequence[Cell]) -> None:
        if not missing:
            return
        by_request = {cell.request: cell for cell in missing}
        last = time.time()
        self._check_limits()
        with closing(_iterate(self._generator, [cell.request for cell in missing])) as outcomes:
            for outcome in outcomes:
                cell = by_request.pop(outcome.request, None)
                if cell is None:
                    raise StudyError(
                        "the generator broke its contract: it answered a request that it was not "
                        f"given, or answered twice ({outcome.request.block.prompt[:60]!r})"
                    )
                last = self._keep(cell, outcome, last)
                self.done += 1
                self._on_image(cell)
                if by_request:
                    self._check_limits()
        if by_request:
            raise StudyError(
                f"the generator broke its contract: {len(by_request)} of {len(missing)} requests "
                "were not answered"
            )

    def _keep(self, cell: Cell, outcome: Generation | Failure, last: float) -> float:
        now = time.time()
        if isinstance(outcome, Failure):
            self._ledger.fail(cell.key, outcome.reason)
            self._failed_in_a_row += 1
            if self.made_now == 0 and self._failed_in_a_row >= GIVE_UP_AFTER:
                raise GenerationError(
                    f"the first {self._failed_in_a_row} images all failed; the last said: "
                    f"{outcome.reason}. Mend it and resume"
                )
            return now
        if outcome.image_key != cell.key:  # a generator may name its pictures otherwise
            outcome = Generation(
                cell.request,
                cell.key,
                outcome.png,
                outcome.seconds,
                outcome.model_calls,
                outcome.facts,
            )
        self._ledger.save(outcome, max(last, now - outcome.seconds), now)
        self._spent_s += self._seconds(cell.key) or 0.0
        self.made_now += 1
        self._failed_in_a_row = 0
        self._lane.put(outcome)
        return now

    def _check_limits(self) -> None:
        if self._should_stop():
            raise Stopped
        if self._limits.minutes is not None and self._spent_s >= 60 * self._limits.minutes:
            raise OutOfBudget

    def _is_judged(self, key: str) -> bool:
        """Are its scores there? A score that failed is tried again as a failed cell is."""
        scores = self._ledger.entry(key).scores
        if scores is None or not set(self._lane.columns) <= set(scores):
            return False
        return not self._retry_failed or None not in scores.values()

    def _seconds(self, key: str) -> float | None:
        made = self._ledger.entry(key).made
        return float(made["seconds"]) if made and made["seconds"] is not None else None

    def _value(self, key: str, column: str) -> float:
        entry = self._ledger.entry(key)
        if column == SECONDS:
            seconds = self._seconds(key)
            return math.nan if seconds is None else seconds
        value = (entry.scores or {}).get(column)
        return math.nan if value is None else float(value)


def _iterate(generator: Generator, requests: Sequence[Request]) -> PyGenerator[Outcome]:
    """An iterator that can be closed, whatever the generator returned."""
    yield from generator.generate(requests)


class BlockScores:
    """The search blocks of a study as a race sees them."""

    def __init__(
        self,
        cells: Cells,
        blocks: Sequence[StudyBlock],
        before_fetch: Callable[[Mapping[str, int]], None],
        after_fetch: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._cells = cells
        self._blocks = blocks
        self._before_fetch = before_fetch
        self._after_fetch = after_fetch

    def fetch(self, needs: Mapping[str, int]) -> None:
        """See `race.Scores`."""
        self._before_fetch(needs)
        self._cells.fetch_blocks({i: self._blocks[:count] for i, count in needs.items()})
        self._after_fetch(needs)

    def matrix(self, ids: Sequence[str], blocks: int) -> Floats:
        """See `race.Scores`."""
        return self._cells.matrix(ids, self._blocks[:blocks])

    def prompts(self, blocks: int) -> list[str]:
        """See `race.Scores`."""
        return [b.block.prompt_id for b in self._blocks[:blocks]]
