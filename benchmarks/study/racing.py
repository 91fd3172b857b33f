"""How often does each way of searching find the best recipe, and for how many images?

    python benchmarks/study/racing.py --worlds 1000 --pruner-worlds 100 --end-to-end 10

Worlds of known truth: 48 recipes, 8 prompts x 4 seeds; standard deviations recipe .25, prompt 1,
seed .6, recipe x prompt .25, residual .5 (assumed, unstructured, normal). The races are the
product's own (`teststrip.study.race`), fed from a matrix instead of a generator; `--end-to-end`
runs whole studies on the synthetic generator besides. Prints a Markdown table.

"Best" has two meanings, and both are shown: best on these eight prompts (what the search can see)
and best on all prompts there could be (what is wanted; a recipe's luck with eight prompts is part
of the error there, and no number of seeds removes it).
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from teststrip.study import Study, StudyConfig
from teststrip.study.plan import Recipes, fixed_points
from teststrip.study.race import (
    Entrant,
    Everything,
    Floats,
    Halving,
    Wilcoxon,
    clustered_mean,
    ranked,
    rungs,
)
from teststrip.study.trials import TrialBook

RECIPES, PROMPTS, SEEDS = 48, 8, 4
BLOCKS = PROMPTS * SEEDS
SD = {"recipe": 0.25, "prompt": 1.0, "seed": 0.6, "recipe_prompt": 0.25, "residual": 0.5}
NAMES = [str(i) for i in range(RECIPES)]
SPACE = {
    "scheduler": ["ddim", "euler", "dpmpp_2m"],
    "steps": [10, 20, 30, 40],
    "guidance": [3, 5, 7, 9],
}


class World:
    """A truth and a score for every cell, blocks in a study's order (prompts first, then seeds)."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        draw = rng.standard_normal
        truth = SD["recipe"] * draw(RECIPES)
        prompt = np.tile(np.arange(PROMPTS), SEEDS)
        self.prompt_names = [f"p{i}" for i in prompt]
        shared = SD["prompt"] * draw(PROMPTS)[prompt] + SD["seed"] * draw(BLOCKS)
        taste = SD["recipe_prompt"] * draw((RECIPES, PROMPTS))
        own = taste[:, prompt] + SD["residual"] * draw((RECIPES, BLOCKS))
        self.truth = {"here": truth + taste.mean(axis=1), "anywhere": truth}
        self.scores = truth[:, None] + shared + own
        other = SD["prompt"] * draw((RECIPES, BLOCKS)) + SD["seed"] * draw((RECIPES, BLOCKS))
        other += SD["recipe_prompt"] * draw((RECIPES, BLOCKS))
        self.unpaired = truth[:, None] + other + SD["residual"] * draw((RECIPES, BLOCKS))

    def fetch(self, needs: Mapping[str, int]) -> None:
        """Everything is there."""

    def matrix(self, ids: Sequence[str], blocks: int) -> Floats:
        """See `race.Scores`."""
        return self.scores[None, [int(i) for i in ids], :blocks]

    def prompts(self, blocks: int) -> list[str]:
        """See `race.Scores`."""
        return self.prompt_names[:blocks]


Found = tuple[int, int]  # the recipe chosen, images used
Method = Callable[[World], Found]


def choice(world: World, reached: Mapping[str, int]) -> Found:
    """What the study reports: the best of those that came farthest."""
    deepest = max(reached.values())
    ids = [i for i in NAMES if reached.get(i) == deepest]
    return int(ranked(ids, deepest, world)[0]), sum(reached.values())


def first_blocks(count: int) -> Method:
    """Every recipe on the first blocks."""

    def run(world: World) -> Found:
        means = clustered_mean(world.scores[:, :count], world.prompts(count))
        return int(np.argmax(means)), count * RECIPES

    return run


def unpaired(world: World) -> Found:
    """As many images as the full grid, each recipe on prompts and seeds of its own."""
    return int(np.argmax(world.unpaired.mean(axis=1))), BLOCKS * RECIPES


def everything(world: World) -> Found:
    """No race."""
    race = Everything(world, BLOCKS)
    race.run([Entrant(i) for i in NAMES])
    return choice(world, race.reached)


def halving(start: int, ask: int | None = None) -> Method:
    """All recipes at once, or in waves of `ask` as a sampler proposes them."""

    def run(world: World) -> Found:
        race = Halving(world, rungs(start, BLOCKS, 2.0))
        size = ask or RECIPES
        for i in range(0, RECIPES, size):
            race.run([Entrant(name) for name in NAMES[i : i + size]])
        return choice(world, race.reached)

    return run


def wilcoxon(ask: int, start: int = 2, p: float = 0.1) -> Method:
    """Optuna's pruner on in-memory trials, as a study uses it."""
    config = StudyConfig.model_validate(
        {
            "name": "bench",
            "prompts": [f"p{i}" for i in range(PROMPTS)],
            "seeds": SEEDS,
            "space": SPACE,
            "objectives": ["clip"],
            "race": {"kind": "wilcoxon", "start": start, "p": p, "ask": ask},
        }
    )
    points, _ = fixed_points(config) or ([], 0)

    def run(world: World) -> Found:
        book = TrialBook(config, directions=["maximize"], to_recipe=Recipes(config), points=points)
        race, size = Wilcoxon(world, BLOCKS), 1
        while turns := book.turns(size):
            size = ask
            race.run([Entrant(NAMES[t.number], t.trial) for t in turns])
            for turn in turns:
                name = NAMES[turn.number]
                blocks = race.reached[name]
                mean = clustered_mean(world.scores[turn.number, :blocks], world.prompts(blocks))
                book.tell(turn, [float(mean)], pruned=name in race.stopped)
        return choice(world, race.reached)

    return run


def row(name: str, method: Method, worlds: int) -> str:
    """One line of the table."""
    tally = Tally()
    for seed in range(worlds):
        world = World(seed)
        chosen, used = method(world)
        tally.add({k: (t, chosen) for k, t in world.truth.items()}, used)
    return tally.row(name, RECIPES * BLOCKS)


class Tally:
    """Places of the chosen recipe, over worlds."""

    def __init__(self) -> None:
        self.places: dict[str, list[int]] = {"here": [], "anywhere": []}
        self.regret: list[float] = []
        self.images: list[int] = []

    def add(self, truths: Mapping[str, tuple[Floats, int]], images: int) -> None:
        """One world: for each meaning of truth, all recipes' truth and the index chosen."""
        for kind, (truth, chosen) in truths.items():
            self.places[kind].append(int((truth > truth[chosen]).sum()))
        truth, chosen = truths["anywhere"]
        self.regret.append(float(truth.max() - truth[chosen]) / SD["recipe"])
        self.images.append(images)

    def row(self, name: str, full: int) -> str:
        """One line of the table."""
        used = statistics.fmean(self.images)
        shares = [share([p < n for p in self.places[k]]) for k in self.places for n in (1, 3)]
        return (
            f"| {name} | {used:.0f} | {1 - used / full:.0%} | {' | '.join(shares)} "
            f"| {statistics.fmean(self.regret):.2f} | {len(self.images)} |"
        )


def share(hits: Sequence[bool]) -> str:
    """A proportion and its standard error."""
    p = statistics.fmean(hits)
    return f"{p:.2f} ± {math.sqrt(p * (1 - p) / len(hits)):.2f}"


def end_to_end(worlds: int) -> str:
    """Whole studies, pictures and all, on the synthetic generator; the baseline is one more."""
    from teststrip.testing.synthetic import SyntheticGenerator, SyntheticScorer

    tally = Tally()
    prompts = [f"prompt {i}" for i in range(PROMPTS)]
    for seed in range(worlds):
        generator = SyntheticGenerator(seed)
        config = {
            "name": "bench",
            "prompts": prompts,
            "seeds": SEEDS,
            "space": SPACE,
            "objectives": ["synthetic"],
        }
        with tempfile.TemporaryDirectory() as home:
            study = Study(config, generator, [SyntheticScorer()], home)
            result = study.run()
            points, _ = fixed_points(study.config) or ([], 0)
        found = [Recipes(study.config)(point) for point in points]
        recipes = [result.baseline, *(r for r in found if not isinstance(r, str))]
        chosen = recipes.index(result.best)
        here = np.array([generator.truth(r, prompts) for r in recipes])
        anywhere = np.array([generator.truth(r) for r in recipes])
        tally.add({"here": (here, chosen), "anywhere": (anywhere, chosen)}, result.images)
    return tally.row("whole study with baseline, halving 4 -> 32", (RECIPES + 1) * BLOCKS)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--worlds", type=int, default=1000)
    options.add_argument("--pruner-worlds", type=int, default=100)
    options.add_argument("--end-to-end", type=int, default=0, metavar="WORLDS")
    args = options.parse_args()
    began = time.monotonic()
    print(
        "| method | images | saved | P(best) here | P(in top 3) here | P(best) on all prompts "
        "| P(in top 3) on all prompts | regret (recipe SD) | worlds |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    cheap: dict[str, Method] = {
        "1 image a recipe, same seed (X/Y plot)": first_blocks(1),
        "4 paired blocks": first_blocks(4),
        "32 images a recipe, not paired": unpaired,
        "full grid, 32 paired blocks": everything,
        "halving 4 -> 32, all at once": halving(4),
        "halving 4 -> 32, in waves of 8": halving(4, ask=8),
        "halving 2 -> 32, all at once": halving(2),
    }
    for name, method in cheap.items():
        print(row(name, method, args.worlds), flush=True)
    for ask in (1, 8):
        name = f"WilcoxonPruner p=.1 start 2, {ask} at a time"
        print(row(name, wilcoxon(ask), args.pruner_worlds), flush=True)
    if args.end_to_end:
        print(end_to_end(args.end_to_end), flush=True)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
