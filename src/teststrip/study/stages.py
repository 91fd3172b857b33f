"""The stages of a study before it runs: how many recipes get how far, and the images that takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from teststrip.study.config import Race


@dataclass(frozen=True)
class Stage:
    """One stage: `recipes` recipes on `blocks` new blocks each make `images` images.

    `is_exact`: known before the first image; else an expected number. `seconds`: what the images
    take, None where the speed is unknown.
    """

    name: str
    recipes: float
    blocks: int
    images: float
    is_exact: bool
    seconds: float | None = None

    def timed(self, seconds_per_image: float | None) -> "Stage":
        """The same stage with its time."""
        if seconds_per_image is None:
            return self
        return replace(self, seconds=self.images * seconds_per_image)

    def __str__(self) -> str:
        about = "" if self.is_exact else "about "
        count = f"{self.recipes:.0f}" if self.recipes >= 10 else f"{self.recipes:.2g}"
        noun = "recipe" if count == "1" else "recipes"
        blocks = f"{self.blocks} block{'s' if self.blocks != 1 else ''}"
        is_product = abs(self.recipes * self.blocks - self.images) < 0.5
        by = f"{about}{count} {noun} x {blocks}" if is_product else f"{count} {noun}, {blocks} each"
        full = "" if is_product else " at most"
        return f"{by}{full} = {about}{self.images:.0f} images"


def halving(race: Race, racers: int, steps: Sequence[int], *, all_at_once: bool) -> list[Stage]:
    """The rungs of successive halving over `steps` blocks.

    All at once the numbers are exact. In waves (a sampler proposes `ask` recipes at a time) a
    recipe goes on with the share that it would have if all waves were alike.
    """
    recipes, images, seen = ([0.0] * len(steps) for _ in range(3))
    for wave in [racers] if all_at_once else waves(racers, race.ask):
        alive, before = float(wave), 0
        for rung, blocks in enumerate(steps):
            images[rung] += alive * (blocks - before)
            recipes[rung] += alive
            seen[rung] += alive
            go_on = max(race.keep, math.ceil(seen[rung] / race.eta))
            alive *= min(1.0, go_on / seen[rung]) if seen[rung] else 0.0
            before = blocks
    begins = [0, *steps]
    return [
        Stage(f"rung {rung + 1}", recipes[rung], blocks - begins[rung], images[rung], all_at_once)
        for rung, blocks in enumerate(steps)
        if recipes[rung] > 0
    ]


def waves(racers: int, ask: int) -> list[int]:
    """The sizes of the waves in which a sampler's recipes come."""
    return [min(ask, racers - i) for i in range(0, racers, ask)]


def within(budget: int, stages: Sequence[Stage]) -> tuple[list[Stage], str]:
    """The stages that a budget of images pays for, and a note if it does not pay for all.

    A rung that is exact is begun only if all of it is paid for. Of a search whose recipes come
    wave by wave there will be less of every rung.
    """
    total = sum(stage.images for stage in stages)
    if total <= budget:
        return list(stages), ""
    if not all(stage.is_exact for stage in stages):
        share = budget / total
        less = [replace(s, recipes=s.recipes * share, images=s.images * share) for s in stages]
        return less, f"the budget pays for about {100 * share:.0f} % of the search"
    kept: list[Stage] = []
    left = budget
    for stage in stages:
        if stage.images > left:
            break
        kept.append(stage)
        left -= round(stage.images)
    ends = stages[len(kept)].name
    return kept, f"the budget ends the race before {ends}, which it cannot pay for as a whole"
