"""Who races in a study: points of its space as recipes, and how many there will be."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from teststrip.config import faults_of
from teststrip.errors import ConfigError
from teststrip.recipe import Recipe
from teststrip.study import adapters
from teststrip.study.config import StudyConfig
from teststrip.study.constraints import Constraint
from teststrip.study.designs import design_points
from teststrip.study.faults import constraint_names
from teststrip.study.space import DUMMY, Param, Point, Space

SPREAD = 256  # draws from a sampler's space that its time is estimated from


class Recipes:
    """Points of the space -> recipes, or the reason why there is none."""

    def __init__(self, config: StudyConfig) -> None:
        self._fixed = config.recipe
        self._constraints = [Constraint(text, constraint_names()) for text in config.constraints]

    def __call__(self, point: Point) -> Recipe | str:
        """The recipe at a point; text says why the point may not be run."""
        fields = {k: v for k, v in point.items() if not k.startswith(DUMMY)}
        try:
            recipe = Recipe.model_validate(adapters.with_adapter(self._fixed | fields))
        except ValidationError as exc:
            return "; ".join(faults_of(exc))
        values = recipe.model_dump() | {"model_calls": recipe.model_calls}
        for constraint in self._constraints:
            if not constraint.holds(values):
                return f"breaks the constraint {constraint.text}"
        return recipe


def fixed_points(config: StudyConfig) -> tuple[list[Point], int] | None:
    """The points of a grid, Sobol or factorial design and how many were refused; None for others.

    Raises ConfigError if none is left.
    """
    if not config.design.is_fixed:
        return None
    recipes = Recipes(config)
    refused: list[str] = []

    def fits(point: Point) -> bool:
        recipe = recipes(point)
        if isinstance(recipe, str):
            refused.append(recipe)
        return isinstance(recipe, Recipe)

    points = design_points(config.design, Space(config.space), fits)
    if not points:
        raise ConfigError(f"study {config.name}: no recipe is left", sorted(set(refused))[:5])
    return points, len(refused)


def baseline_point(config: StudyConfig) -> Point | None:
    """The baseline as a point of the space, for a sampler to begin with; None if outside it."""
    recipe = config.baseline_recipe
    fields = recipe.model_dump(mode="json")
    fields |= adapters.columns_of(recipe, {})
    outside = False

    def pick(name: str, param: Param) -> Any:
        nonlocal outside
        value = param.at(0.5) if name.startswith(DUMMY) else fields[name]
        outside = outside or not param.holds(value)
        return value

    point = Space(config.space).draw(pick)
    found = None if outside else Recipes(config)(point)
    return point if isinstance(found, Recipe) and found.recipe_id == recipe.recipe_id else None


@dataclass(frozen=True)
class Entries:
    """The recipes of a design: how many there are, how many of them race the baseline (are not it).

    `known`: the racers of a fixed design. A sampler's are unknown before they are asked for.
    """

    known: tuple[Recipe, ...]
    recipes: int
    racers: int
    refused: int


def entries(config: StudyConfig) -> Entries:
    """Who will race. Raises ConfigError where no recipe is left."""
    fixed = fixed_points(config)
    if fixed is not None:
        baseline, make = config.baseline_recipe, Recipes(config)
        found = (make(point) for point in fixed[0])
        racers = {r: None for r in found if isinstance(r, Recipe) and r != baseline}
        return Entries(tuple(racers), len(fixed[0]), len(racers), fixed[1])
    count = config.design.trials or 0
    begins_with_it = count > 1 and baseline_point(config) is not None
    return Entries((), count, count - begins_with_it, 0)


def spread(config: StudyConfig, of: Entries) -> tuple[Recipe, ...]:
    """Recipes that stand for all that may race: the design's, or some all over the space.

    A sampler will not spread like that; what it likes is not known before.
    """
    if of.known or config.design.is_fixed:
        return of.known
    from scipy.stats import qmc

    space, make = Space(config.space), Recipes(config)
    rows = qmc.Sobol(d=len(space.params), scramble=True, rng=0).random(SPREAD)
    found: dict[Recipe, None] = {}
    for row in rows:
        shares = dict(zip(space.params, row.tolist(), strict=True))
        recipe = make(space.draw(partial(_at, shares)))
        if isinstance(recipe, Recipe):
            found[recipe] = None
    return tuple(found)


def _at(shares: dict[str, float], name: str, param: Param) -> Any:
    return param.at(shares[name])
