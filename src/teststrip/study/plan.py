"""What a study will cost, worked out before the first image."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from teststrip.errors import ConfigError
from teststrip.recipe import Recipe
from teststrip.study.config import StudyConfig
from teststrip.study.entries import (
    Entries,
    Recipes,
    baseline_point,
    entries,
    fixed_points,
    spread,
)
from teststrip.study.frace import FEWEST_UNITS
from teststrip.study.race import rungs
from teststrip.study.stages import Stage, halving, within

__all__ = ["Plan", "Recipes", "baseline_point", "fixed_points", "make_plan"]

SHARES = {
    "wilcoxon": 0.37,
    "frace": 0.36,
    "posterior": 0.27,
}  # of the full grid, of 48 recipes, simulated
LEADERS = 3  # that a confirmation runs beside the baseline


@dataclass(frozen=True)
class Plan:
    """Numbers of a study that has not run yet.

    `recipes`: of the design, `racers` those of them that are not the baseline itself.
    `images_full_grid` is every recipe and the baseline on every block; `images_expected` is what
    the race will need if all goes as on average (exact for halving over a fixed design), `stages`
    divides it; `images_at_most` can not be passed. `refused` counts combinations that break a
    constraint or are no valid recipe. `prompts_raced` x `seeds_raced` (a harmonic mean, where
    blocks do not come out even) are the blocks of a recipe that is never stopped. `confirmation`:
    three leaders and the baseline on the held-out blocks, None where there are none.
    """

    name: str
    design: str
    race: str
    recipes: int
    racers: int
    refused: int
    blocks: int
    prompts_search: int
    prompts_held_out: int
    prompts_raced: int
    seeds_raced: float
    seeds_confirm: int
    images_expected: int
    images_at_most: int
    images_full_grid: int
    seconds_expected: float | None
    stages: tuple[Stage, ...]
    confirmation: Stage | None
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Search and confirmation together."""
        return self.images_expected + round(self.confirmation.images if self.confirmation else 0)

    @property
    def seconds(self) -> float | None:
        """Search and confirmation together; None where the speed is unknown."""
        if self.seconds_expected is None:
            return None
        after = self.confirmation.seconds if self.confirmation else 0.0
        return self.seconds_expected + (after or 0.0)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.recipes} recipes ({self.design}) and the baseline, "
            f"{self.blocks} blocks, race: {self.race}",
            f"  prompts            {self.prompts_search} searched, "
            f"{self.prompts_held_out} held out",
        ]
        if self.refused:
            lines.append(
                f"  refused            {self.refused} combinations (forbidden or not valid)"
            )
        lines += [_line(stage) for stage in self.stages]
        lines += [
            f"  images expected    {self.images_expected}, at most {self.images_at_most}"
            + _time(self.seconds_expected),
            f"  full paired grid   {self.images_full_grid}",
        ]
        if self.confirmation is not None:
            lines.append(_line(self.confirmation))
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def _line(stage: Stage) -> str:
    return f"  {stage.name:18} {stage}{_time(stage.seconds)}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = seconds / 60
    text = f"{seconds:.2g} s" if minutes < 1 else f"{minutes:.1f} min"
    return f", {text if minutes < 90 else f'{minutes / 60:.1f} h'}"


Speed = float | Callable[[Recipe], float] | None


def make_plan(
    config: StudyConfig,
    seconds_per_image: Speed = None,
    *,
    of: Entries | None = None,
    prompts_times: float = 1,
    seeds_times: float = 1,
) -> Plan:
    """Work out the cost. Raises ConfigError if the budget cannot pay for the first rung.

    `seconds_per_image`: of any image, or a function of its recipe. `of`: the design's recipes
    where they are known already. With `prompts_times` or `seeds_times` the same study with more or
    fewer of them, `race.top` and the held-out part alike.
    """
    of = of or entries(config)
    race, fixed, times = config.race, config.design.is_fixed, prompts_times * seeds_times
    top = max(1, round(config.top * times))
    steps = rungs(race.start, top, race.eta) if race.kind == "halving" else [top]
    wave = of.racers if fixed else min(race.ask, of.racers)
    first_rung = _first_blocks(config, steps)
    first = top + wave * first_rung
    if config.budget.images is not None and config.budget.images < first:
        raise ConfigError(
            f"study {config.name}: budget.images {config.budget.images} does not pay for the "
            f"first rung: {first} images (baseline on {top} blocks, {wave} recipes on "
            f"{first_rung})",
        )
    slow, usual = _speeds(config, of, seconds_per_image)
    base = Stage("baseline", 1, top, top, is_exact=True).timed(slow)
    found = _stages(config, of.racers, steps)
    if found and config.budget.images is not None:
        found, cut = within(config.budget.images - top, found)
    else:
        cut = ""
    stages = (base, *(stage.timed(usual) for stage in found))
    full = (of.racers + 1) * top
    search, held_out = config.prompts.split()
    images = math.ceil(sum(stage.images for stage in stages) - 1e-9)
    notes = [cut] if cut else []
    if race.kind in SHARES:
        notes.append("images_expected is a rough share known from simulation")
    if not held_out:
        notes.append("no prompts are held out: the winner cannot be confirmed on fresh prompts")
    prompts, seeds = _shape(config)
    after = None
    fresh = round(len(held_out) * prompts_times) if held_out else 0
    seeds_confirm = max(1, round(config.seeds.per_prompt * seeds_times))
    if fresh:
        leaders, blocks = min(LEADERS, of.racers), fresh * seeds_confirm
        after = Stage("confirmation", leaders + 1, blocks, (leaders + 1) * blocks, is_exact=True)
        if slow is not None and usual is not None:
            after = replace(after, seconds=blocks * (slow + leaders * usual))
    spent = [stage.seconds for stage in stages if stage.seconds is not None]
    return Plan(
        name=config.name,
        design=config.design.kind,
        race=race.kind,
        recipes=of.recipes,
        racers=of.racers,
        refused=of.refused,
        blocks=top,
        prompts_search=round(len(search) * prompts_times),
        prompts_held_out=fresh,
        prompts_raced=max(1, round(prompts * prompts_times)),
        seeds_raced=seeds * seeds_times,
        seeds_confirm=seeds_confirm,
        images_expected=images,
        images_at_most=min(full, config.budget.images or full),
        images_full_grid=full,
        seconds_expected=sum(spent) if spent else None,
        stages=stages,
        confirmation=after,
        notes=tuple(notes),
    )


def _stages(config: StudyConfig, racers: int, steps: Sequence[int]) -> list[Stage]:
    race, fixed = config.race, config.design.is_fixed
    if not racers:
        return []
    if race.kind == "halving":
        return halving(race, racers, steps, all_at_once=fixed)
    if race.kind == "none":
        return [Stage("all blocks", racers, steps[-1], racers * steps[-1], is_exact=fixed)]
    images = min(racers, 1 + SHARES[race.kind] * racers) * steps[-1]
    return [Stage("race", racers, steps[-1], images, is_exact=False)]


def _speeds(config: StudyConfig, of: Entries, speed: Speed) -> tuple[float | None, float | None]:
    """Seconds of an image of the baseline, and of the others on average."""
    if speed is None or isinstance(speed, int | float):
        return speed, speed
    base = speed(config.baseline_recipe)
    others = [speed(r) for r in spread(config, of) if r != config.baseline_recipe]
    return base, sum(others) / len(others) if others else base


def _shape(config: StudyConfig) -> tuple[int, float]:
    """(prompts, seeds for each of them) of a recipe's blocks; the harmonic mean of the seeds."""
    counts = Counter(block.block.prompt_id for block in config.blocks).values()
    return len(counts), len(counts) / sum(1 / count for count in counts)


def _first_blocks(config: StudyConfig, steps: Sequence[int]) -> int:
    """Blocks that every recipe of a wave is given before the first is stopped."""
    if config.race.kind == "frace":
        return min(max(config.race.start, FEWEST_UNITS), steps[-1])
    if config.race.kind == "posterior":
        return min(config.race.start, config.top)
    return 1 if config.race.kind == "wilcoxon" else steps[0]
