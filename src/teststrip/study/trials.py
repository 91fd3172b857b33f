"""The trials of a study in Optuna: asked and told, in a journal beside the images.

Every trial's sampler is made afresh, seeded by the study's seed and the trial's number, so that
a study that was killed and resumed asks for the same recipes as one that ran straight through.
A trial that a crash left running is taken up again, never left dangling.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from teststrip.errors import StudyError
from teststrip.recipe import Recipe
from teststrip.study.config import StudyConfig
from teststrip.study.journal import GivenPoint, journal_storage, storing
from teststrip.study.race import reported_steps
from teststrip.study.space import Param, Point, Space

MODEL_TRIES = 8
RANDOM_TRIES = 200
ToRecipe = Callable[[Point], Recipe | str]


@dataclass(frozen=True)
class Turn:
    """One recipe's turn: Optuna's trial and what it stands for."""

    number: int
    point: Point
    recipe: Recipe
    trial: Any
    is_told: bool


class TrialBook:
    """Asks for the next recipe (or recalls it) and tells its value.

    `points`: the recipes of a fixed design. `first`: a point that a sampler is to begin with.
    `to_recipe` gives the recipe of a point, or the reason why it may not be run.
    """

    def __init__(
        self,
        config: StudyConfig,
        *,
        directions: Sequence[str],
        to_recipe: ToRecipe,
        points: Sequence[Point] | None = None,
        first: Point | None = None,
        journal: Path | None = None,
    ) -> None:
        self._config = config
        self._space = Space(config.space)
        self._to_recipe = to_recipe
        self._points = points
        self._first = first
        self._cursor = 0
        self._given = 0
        self._misses = 0
        self._journal = journal or Path("memory")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with storing(self._journal):
            storage = None if journal is None else journal_storage(journal)
            self.study = optuna.create_study(
                storage=storage,
                study_name=config.name,
                directions=list(directions),
                pruner=self._pruner(),
                load_if_exists=True,
            )

    @property
    def planned(self) -> int:
        """How many recipes there will be."""
        return len(self._points) if self._points is not None else self._config.design.trials or 0

    def turns(self, count: int | None) -> list[Turn]:
        """The next turns, at most `count`; empty when the design is exhausted."""
        left = self.planned - self._given
        with storing(self._journal):
            out = [self._next() for _ in range(left if count is None else min(count, left))]
        self._given += len(out)
        return out

    def note(self, turn: Turn, blocks: int) -> None:
        """Keep how far a trial came, before any trial of its wave is told."""
        if not turn.is_told:
            with storing(self._journal):
                turn.trial.set_user_attr("recipe_id", turn.recipe.recipe_id)
                turn.trial.set_user_attr("blocks", blocks)

    def tell(self, turn: Turn, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        """End a trial with its values, as failed (None), or as pruned; harmless if told."""
        if turn.is_told:
            return
        state = TrialState.COMPLETE if values is not None else TrialState.FAIL
        with storing(self._journal):
            if pruned and reported_steps(turn.trial):
                self.study.tell(turn.number, state=TrialState.PRUNED)
            else:
                self.study.tell(turn.number, values=values, state=state)

    def _next(self) -> Turn:
        while True:
            number = self._cursor
            self._cursor += 1
            turn = self._turn(number)
            if turn is not None:
                self._misses = 0
                return turn
            self._misses += 1
            if self._misses > RANDOM_TRIES:
                raise StudyError(
                    f"{RANDOM_TRIES} recipes in a row broke a constraint; "
                    "loosen `constraints` or narrow `space`"
                )

    def _turn(self, number: int) -> Turn | None:
        known = self.study.get_trials(deepcopy=False)
        self.study.sampler = self._sampler(number)
        if number < len(known):
            trial_id = known[number]._trial_id
            told = known[number].state.is_finished()
        else:
            trial_id, told = self.study.ask()._trial_id, False
        if told:
            trial = known[number]
            point = self._space.draw(lambda name, param: param.decode(trial.params[name]))
        else:
            trial = optuna.trial.Trial(self.study, trial_id)
            point = self._space.draw(lambda name, param: param.suggest(trial, name))
        recipe = self._to_recipe(point)
        if isinstance(recipe, Recipe):
            return Turn(number, point, recipe, trial, told)
        if not told:
            trial.set_user_attr("refused", recipe)
            self.study.tell(number, state=TrialState.FAIL)
        return None

    def _sampler(self, number: int) -> Any:
        design = self._config.design
        if self._points is not None:
            return GivenPoint(self._encoded(self._points[min(number, len(self._points) - 1)]))
        if number == 0 and self._first is not None:
            return GivenPoint(self._encoded(self._first))
        text = f"{design.seed}|{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        samplers = optuna.samplers
        if self._misses >= MODEL_TRIES:  # a model may propose a forbidden recipe for ever
            return samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if design.kind == "tpe":
                return samplers.TPESampler(seed=seed, constant_liar=True)
            if design.kind == "gp":
                return samplers.GPSampler(seed=seed)
            return samplers.NSGAIISampler(seed=seed, population_size=max(4, self._config.race.ask))

    def _encoded(self, point: Point) -> dict[str, Any]:
        return {name: _param(self._space, name).encode(value) for name, value in point.items()}

    def _pruner(self) -> Any:
        race = self._config.race
        if race.kind != "wilcoxon":
            return optuna.pruners.NopPruner()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.WilcoxonPruner(p_threshold=race.p, n_startup_steps=race.start)


def _param(space: Space, name: str) -> Param:
    return space.params[name]
