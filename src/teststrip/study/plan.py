"""What a study will cost, worked out before the first image."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from teststrip.config import faults_of
from teststrip.errors import ConfigError
from teststrip.recipe import Recipe
from teststrip.study.config import StudyConfig
from teststrip.study.constraints import Constraint
from teststrip.study.designs import design_points
from teststrip.study.faults import constraint_names
from teststrip.study.frace import FEWEST_UNITS
from teststrip.study.race import rungs
from teststrip.study.space import DUMMY, Param, Point, Space

SHARES = {"wilcoxon": 0.37, "frace": 0.36}  # of the full grid, of 48 recipes, simulated


@dataclass(frozen=True)
class Plan:
    """Numbers of a study that has not run yet.

    `images_full_grid` is every recipe and the baseline on every block; `images_expected` is what
    the race will need if all goes as on average (exact for halving over a fixed design);
    `images_at_most` can not be passed. `refused` counts combinations that break a constraint or
    are no valid recipe.
    """

    name: str
    design: str
    race: str
    recipes: int
    refused: int
    blocks: int
    prompts_search: int
    prompts_held_out: int
    images_expected: int
    images_at_most: int
    images_full_grid: int
    seconds_expected: float | None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.recipes} recipes ({self.design}) and the baseline, "
            f"{self.blocks} blocks, race: {self.race}",
            f"  prompts            {self.prompts_search} searched, "
            f"{self.prompts_held_out} held out",
            f"  images expected    {self.images_expected}, at most {self.images_at_most}",
            f"  full paired grid   {self.images_full_grid}",
        ]
        if self.refused:
            lines.append(
                f"  refused            {self.refused} combinations (forbidden or not valid)"
            )
        if self.seconds_expected is not None:
            lines.append(f"  time               about {self.seconds_expected / 60:.1f} minutes")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


class Recipes:
    """Points of the space -> recipes, or the reason why there is none."""

    def __init__(self, config: StudyConfig) -> None:
        self._fixed = config.recipe
        self._constraints = [Constraint(text, constraint_names()) for text in config.constraints]

    def __call__(self, point: Point) -> Recipe | str:
        """The recipe at a point; text says why the point may not be run."""
        fields = {k: v for k, v in point.items() if not k.startswith(DUMMY)}
        try:
            recipe = Recipe.model_validate(self._fixed | fields)
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
    outside = False

    def pick(name: str, param: Param) -> Any:
        nonlocal outside
        value = param.at(0.5) if name.startswith(DUMMY) else fields[name]
        outside = outside or not param.holds(value)
        return value

    point = Space(config.space).draw(pick)
    found = None if outside else Recipes(config)(point)
    return point if isinstance(found, Recipe) and found.recipe_id == recipe.recipe_id else None


def make_plan(config: StudyConfig, seconds_per_image: float | None = None) -> Plan:
    """Work out the cost. Raises ConfigError if the budget cannot pay for the first rung."""
    fixed = fixed_points(config)
    points, refused = fixed or ([], 0)
    count = len(points) if fixed else config.design.trials or 0
    top, race = config.top, config.race
    steps = rungs(race.start, top, race.eta) if race.kind == "halving" else [top]
    wave = count if config.design.is_fixed else min(race.ask, count)
    start = _first_blocks(config, steps)
    first = top + wave * start
    if config.budget.images is not None and config.budget.images < first:
        raise ConfigError(
            f"study {config.name}: budget.images {config.budget.images} does not pay for the "
            f"first rung: {first} images (baseline on {top} blocks, {wave} recipes on {start})",
        )
    full = (count + 1) * top
    expected = top + _expected(config, count, steps)
    at_most = min(full, config.budget.images or full)
    search, held_out = config.prompts.split()
    notes = []
    if expected > at_most:
        notes.append(f"the budget stops the search after {at_most} images")
    if race.kind in SHARES:
        notes.append("images_expected is a rough share known from simulation")
    if not held_out:
        notes.append("no prompts are held out: the winner cannot be confirmed on fresh prompts")
    images = min(math.ceil(expected), at_most)
    return Plan(
        name=config.name,
        design=config.design.kind,
        race=race.kind,
        recipes=count,
        refused=refused,
        blocks=top,
        prompts_search=len(search),
        prompts_held_out=len(held_out),
        images_expected=images,
        images_at_most=at_most,
        images_full_grid=full,
        seconds_expected=None if seconds_per_image is None else images * seconds_per_image,
        notes=tuple(notes),
    )


def _expected(config: StudyConfig, count: int, steps: Sequence[int]) -> float:
    """Images of `count` recipes besides the baseline's."""
    race = config.race
    if race.kind == "none":
        return count * steps[-1]
    if race.kind in SHARES:
        return min(count, 1 + SHARES[race.kind] * count) * steps[-1]
    waves = [count] if config.design.is_fixed else _waves(count, race.ask)
    seen = [0.0] * len(steps)
    images = 0.0
    for wave in waves:
        alive, before = float(wave), 0
        for rung, blocks in enumerate(steps):
            images += alive * (blocks - before)
            seen[rung] += alive
            if not config.design.is_fixed or seen[rung] > race.keep:
                go_on = max(race.keep, math.ceil(seen[rung] / race.eta))
                alive *= min(1.0, go_on / seen[rung])
            before = blocks
    return images


def _first_blocks(config: StudyConfig, steps: Sequence[int]) -> int:
    if config.race.kind == "frace":
        return min(max(config.race.start, FEWEST_UNITS), config.top)
    return 1 if config.race.kind == "wilcoxon" else steps[0]


def _waves(count: int, ask: int) -> list[int]:
    return [min(ask, count - i) for i in range(0, count, ask)]
