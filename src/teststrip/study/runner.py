"""The run of a study: ask for recipes, race them, tell what they are worth.

A resumed study replays itself from the start: trials are recalled from the journal, cells from
the ledger, and every decision is a function of the scores alone. Only what is missing is made.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from teststrip.errors import MissingExtra, StudyError
from teststrip.files import write_atomic
from teststrip.protocols import Generator, Scorer
from teststrip.recipe import Recipe
from teststrip.study.cells import BlockScores, Cell, Cells, Limits
from teststrip.study.config import StudyConfig
from teststrip.study.fingerprints import Fingerprints
from teststrip.study.folder import StudyFolder
from teststrip.study.goals import SECONDS, Goal, find_goals
from teststrip.study.ledger import Ledger
from teststrip.study.plan import Recipes, baseline_point, fixed_points, make_plan
from teststrip.study.progress import ProgressFile, standing
from teststrip.study.race import (
    AnyRace,
    Entrant,
    Everything,
    FRace,
    Halving,
    OutOfBudget,
    Posterior,
    Wilcoxon,
    clustered_mean,
    ranked,
    reported_steps,
    rungs,
)
from teststrip.study.result import Asked, Confirmation, Ending, Event, EventKind
from teststrip.study.table import Origin, build_table, to_bytes

if TYPE_CHECKING:
    from teststrip.study.trials import TrialBook, Turn

TABLE_EVERY_S = 2.0
BASELINE = -1
OnEvent = Callable[[Event], None]


class Runner:
    """One run, from the first missing cell to the end. Used once, by `Study.run`."""

    def __init__(
        self,
        config: StudyConfig,
        *,
        folder: StudyFolder,
        ledger: Ledger,
        generator: Generator,
        scorers: Sequence[Scorer],
        record: Callable[["Runner", Recipe, str], None],
        on_event: OnEvent | None,
        should_stop: Callable[[], bool],
        retry_failed: bool = True,
    ) -> None:
        self.config = config
        self.folder = folder
        self.ledger = ledger
        self.baseline = config.baseline_recipe
        self.origins: dict[str, Origin] = {self.baseline.recipe_id: Origin(BASELINE, {})}
        self.recipes: dict[str, Recipe] = {self.baseline.recipe_id: self.baseline}
        self._record = partial(record, self)
        self._on_event = on_event or (lambda event: None)
        self._best: tuple[str, float | None] = ("", None)
        self._running: set[str] = set()
        self._began = time.monotonic()
        self._table_at = -math.inf
        plan = make_plan(config)
        self._expected = plan.images_expected
        self.is_exact = all(stage.is_exact for stage in plan.stages)
        self.is_confirming = False
        self._progress = ProgressFile(folder.progress, partial(standing, self))
        self.goals = find_goals(config, scorers)
        self.cells = Cells(
            generator=generator,
            scorers=scorers,
            ledger=ledger,
            goals=self._goals_primary_first(),
            limits=Limits(config.budget.images, config.budget.minutes),
            fingerprints=Fingerprints(generator, folder),
            on_image=lambda cell: self._say("image"),
            should_stop=should_stop,
            retry_failed=retry_failed,
        )
        self.cells.add(self.baseline)
        self.scores = BlockScores(self.cells, config.blocks, self._before_fetch, self._after_fetch)
        self.race = self._make_race()

    def run(self) -> Ending:
        """Run to the end or to the budget; the caller closes `cells`."""
        book = self._make_book()
        also = {self.baseline.recipe_id: self.config.top}
        wave_size = None if self._all_at_once() else self.config.race.ask
        size = self.race.first_wave or wave_size
        while turns := book.turns(size):
            size = wave_size
            ending = self._run_wave(book, turns, also)
            if ending != "finished":
                return ending
            also = {}
        return "finished"

    def confirm(self, top: int, seeds: int, asked: Asked) -> Confirmation:
        """Run the leaders and the baseline on held-out blocks; to be called after `run`.

        `asked`: what earlier confirmations had; it stays in, so that nobody picks among them.
        """
        ids = [i for i in self.leaders() if i != self.baseline.recipe_id][:top]
        if not ids:
            raise StudyError(
                f"study {self.config.name!r}: no recipe but the baseline came to the end of the "
                "race, so there is nothing to confirm"
            )
        asked = asked.with_round(ids, seeds)
        self.folder.write(confirm_asked=asked.as_dict())  # a look is counted before it is taken
        before = self.cells.made_now
        self.confirm_again(asked)
        blocks = self.config.held_out_blocks(asked.most)
        base = np.array(self.cells.values(self.baseline.recipe_id, blocks, self.primary))
        names = np.array([b.block.prompt_id for b in blocks])
        means, gains = {}, {}
        for recipe_id in [self.baseline.recipe_id, *asked.seeds]:
            mine = np.array(self.cells.values(recipe_id, blocks, self.primary))
            have, both = np.isfinite(mine), np.isfinite(mine) & np.isfinite(base)
            if have.any():
                means[recipe_id] = float(clustered_mean(mine[have], names[have]))
            if both.any():
                gains[recipe_id] = float(clustered_mean((mine - base)[both], names[both]))
        return Confirmation(
            name=self.config.name,
            folder=self.folder.path,
            table=self.folder.table,
            objective=self.primary.column,
            recipes=tuple(ids),
            baseline=self.baseline.recipe_id,
            seeds=seeds,
            prompts=len(set(names.tolist())),
            means=means,
            gains=gains,
            images=sum(c.block.split == "held_out" for c in self.cells.registered.values()),
            images_now=self.cells.made_now - before,
            asked=asked,
        )

    def confirm_again(self, asked: Asked) -> None:
        """Have the held-out cells of every recipe ever confirmed and the baseline's."""
        self.cells.lift_limits()
        needs = {i: self.config.held_out_blocks(n) for i, n in asked.seeds.items()}
        needs = {self.baseline.recipe_id: self.config.held_out_blocks(asked.most)} | needs
        self._expected = self.cells.done + sum(map(len, needs.values()))
        self.is_confirming = self.is_exact = True
        self.cells.fetch_blocks(needs)
        self.write_table()

    def _run_wave(
        self, book: "TrialBook", turns: Sequence["Turn"], also: Mapping[str, int]
    ) -> Ending:
        ending: Ending = "finished"
        fresh: dict[str, Entrant] = {}
        for turn in turns:
            recipe_id = turn.recipe.recipe_id
            self.cells.add(turn.recipe)
            self.recipes.setdefault(recipe_id, turn.recipe)
            self.origins.setdefault(recipe_id, Origin(turn.number, turn.point))
            if recipe_id not in self.race.reached and recipe_id != self.baseline.recipe_id:
                fresh.setdefault(recipe_id, Entrant(recipe_id, turn.trial))
        try:
            if fresh:
                self.race.run(list(fresh.values()), also)
            elif also:
                self.scores.fetch(also)
        except OutOfBudget:
            ending = "budget"
        if also:
            self._record(self.baseline, "baseline")
        for turn in turns:
            book.note(turn, self.reached(turn.recipe.recipe_id))
        for turn in turns:
            self._end_trial(book, turn)
        self.write_table()
        return ending

    def reached(self, recipe_id: str) -> int:
        """Blocks that a recipe was compared on."""
        if recipe_id == self.baseline.recipe_id:
            return self.config.top
        return self.race.reached.get(recipe_id, 0)

    def leader(self) -> str:
        """The best recipe, perhaps the baseline."""
        return next(iter(self.leaders()), self.baseline.recipe_id)

    def leaders(self) -> list[str]:
        """The recipes (baseline included) that came farthest, best first."""
        depth = {i: self.reached(i) for i in self.recipes}
        deepest = max((d for i, d in depth.items() if i != self.baseline.recipe_id), default=0)
        ids = [i for i, d in depth.items() if d >= deepest]
        return ranked(ids, deepest, self.scores) if deepest else []

    def value(self, recipe_id: str, goal: Goal | None = None) -> float | None:
        """What a recipe is worth: the baseline's mean plus the paired difference to it.

        A recipe that was stopped after four easy blocks must not look better than one that ran
        on all: both are measured against the baseline on the blocks they share. None where fewer
        than half of the recipe's cells have a score.
        """
        goal = goal or self.primary
        blocks = self.config.blocks
        reached = self.reached(recipe_id)
        base = np.array(self.cells.values(self.baseline.recipe_id, blocks, goal))
        mine = np.array(self.cells.values(recipe_id, blocks[:reached], goal))
        names = np.array([b.block.prompt_id for b in blocks])
        have = np.isfinite(base)
        both = have[:reached] & np.isfinite(mine)
        if not reached or both.sum() < reached / 2 or not both.any():
            return None
        gain = clustered_mean((mine - base[:reached])[both], names[:reached][both])
        return float(clustered_mean(base[have], names[have]) + gain)

    @property
    def primary(self) -> Goal:
        """The objective that decides."""
        return self.goals[self.config.primary]

    def has_failed(self, cell: Cell) -> bool:
        """Is there no picture, or no score that an objective needs?"""
        scores = self.ledger.entry(cell.key).scores or {}
        needed = (g.column for g in self.goals if g.column != SECONDS)
        missing = any(scores.get(column) is None for column in needed)
        return missing or not self.ledger.is_made(cell.key)

    def write_table(self) -> None:
        """Write images.parquet anew."""
        steps = rungs(self.config.race.start, self.config.top, self.config.race.eta)
        rung_of = {b: sum(b >= n for n in steps) for b in range(self.config.top)}
        numeric = (int, float)
        table = build_table(
            self.config.name,
            cells=self.cells.registered.values(),
            origins=self.origins,
            ledger=self.ledger,
            columns=self.cells.columns,
            needed=[g.column for g in self.goals if g.column != SECONDS],
            dummies={
                n: self.config.space[n].choice is None
                or all(isinstance(v, numeric) for v in self.config.space[n].choice or ())
                for n in self.config.dummies
            },
            rung_of=rung_of,
            files=self.config.adapters,
        )
        write_atomic(self.folder.table, to_bytes(table))
        self._table_at = time.monotonic()

    def _make_race(self) -> AnyRace:
        race, top = self.config.race, self.config.top
        if race.kind == "halving":
            steps = rungs(race.start, top, race.eta)
            return Halving(self.scores, steps, eta=race.eta, keep=race.keep)
        if race.kind == "posterior":
            seed = self.config.design.seed
            return Posterior(self.scores, top, race.start, race.regret, race.keep, seed)
        if race.kind == "frace":
            return FRace(self.scores, top, race.start, race.p, race.keep, race.ask)
        if race.kind == "wilcoxon":
            return Wilcoxon(self.scores, top, highest_is_best=self.primary.highest_is_best)
        return Everything(self.scores, top)

    def _make_book(self) -> "TrialBook":
        fixed = fixed_points(self.config)
        try:  # here alone: who reads studies (the studio) needs no Optuna
            from teststrip.study.trials import TrialBook
        except ModuleNotFoundError as exc:
            raise MissingExtra(f"running a study (package {exc.name})", "study") from exc

        return TrialBook(
            self.config,
            directions=["maximize" if g.highest_is_best else "minimize" for g in self.goals],
            to_recipe=Recipes(self.config),
            points=fixed[0] if fixed else None,
            first=baseline_point(self.config),
            journal=self.folder.journal,
        )

    def _all_at_once(self) -> bool:
        return self.config.design.is_fixed and self.config.race.kind != "wilcoxon"

    def _goals_primary_first(self) -> list[Goal]:
        """A race breaks ties by its first objective."""
        return [self.primary, *(g for g in self.goals if g is not self.primary)]

    def _check_baseline(self) -> None:
        base_id, top = self.baseline.recipe_id, self.config.top
        if self.value(base_id) is not None:
            return
        cells = [c for (i, _, _), c in self.cells.registered.items() if i == base_id]
        reasons = [r for c in cells if (r := self.ledger.entry(c.key).reason)]
        if len(reasons) >= top / 2:
            raise StudyError(
                f"study {self.config.name}: the baseline has no score on {len(reasons)} of its "
                f"{top} blocks, so nothing can be compared with it; the first reason: {reasons[0]}"
            )

    def _end_trial(self, book: "TrialBook", turn: "Turn") -> None:
        if turn.is_told:
            return
        recipe_id = turn.recipe.recipe_id
        values = [self.value(recipe_id, goal) for goal in self.goals]
        known = [v for v in values if v is not None]
        complete = len(known) == len(values)
        stopped = self.race.stopped if isinstance(self.race, Wilcoxon) else set()
        if complete and isinstance(self.race, Wilcoxon):
            self._report_again(turn)
        self._record(
            turn.recipe, "stopped" if self.reached(recipe_id) < self.config.top else "done"
        )
        book.tell(turn, known if complete else None, pruned=recipe_id in stopped)
        self._say("trial")

    def _report_again(self, turn: "Turn") -> None:
        """A recipe met before brings its block scores along, for Optuna's pruner."""
        blocks = self.config.blocks[: self.reached(turn.recipe.recipe_id)]
        done = reported_steps(turn.trial)
        for step, value in enumerate(
            self.cells.values(turn.recipe.recipe_id, blocks, self.primary)
        ):
            if step not in done and math.isfinite(value):
                turn.trial.report(value, step)

    def _before_fetch(self, needs: Mapping[str, int]) -> None:
        self._running = set(needs)

    def _after_fetch(self, needs: Mapping[str, int]) -> None:
        self._check_baseline()
        depth = min(needs.values())
        order = ranked(list(needs), depth, self.scores)
        if order:
            self._best = (order[0], self.value(order[0]))
        self._say("rung")
        if time.monotonic() - self._table_at > TABLE_EVERY_S:
            self.write_table()

    @property
    def best_so_far(self) -> str:
        """The recipe that leads at present, perhaps the baseline; empty before any does."""
        return self._best[0]

    def close(self, *, wait: bool) -> None:
        """End the scoring thread (see `Cells.close`) and write the last progress."""
        self.cells.close(wait=wait)
        self._progress.write()

    def say_end(self) -> None:
        """The last event."""
        self._say("end")

    def _say(self, kind: EventKind) -> None:
        done, made = self.cells.done, self.cells.made_now
        left = max(self._expected - done, 0)
        elapsed = time.monotonic() - self._began
        stopped = [n for i, n in self.race.reached.items() if i not in self._running]
        event = Event(
            kind=kind,
            images=done,
            images_expected=max(self._expected, done),
            images_saved=len(stopped) * self.config.top - sum(stopped),
            best=self._best[0],
            best_value=self._best[1],
            eta_s=left * elapsed / made if made else None,
        )
        self._progress.note(event)
        self._on_event(event)
