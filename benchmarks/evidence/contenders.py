"""The ways of searching that `images_needed.py` compares: a world in, a recipe and its cost out.

The product's own run the product's own classes: the races of `teststrip.study.race` and, where a
sampler proposes recipes, `teststrip.study.trials.TrialBook` told what a study tells it. The others
are written as their documentation shows, and in doubt in their favour: an image that a contender
asks for twice is counted once.
"""

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import optuna
from landscapes import AXES, BLOCKS, NAMES, SIZES, Smooth, Unstructured
from scipy.stats import qmc

from teststrip.recipe import Recipe
from teststrip.study import StudyConfig
from teststrip.study.race import (
    Entrant,
    Everything,
    Floats,
    FRace,
    Halving,
    Posterior,
    clustered_mean,
    ranked,
    rungs,
)
from teststrip.study.trials import TrialBook

AnyWorld = Unstructured | Smooth
Found = tuple[int, int]  # the recipe chosen, images used
Method = Callable[[AnyWorld], Found]
MakeRace = Callable[[AnyWorld], Any]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def choice(world: AnyWorld, reached: Mapping[str, int]) -> Found:
    """What a study reports: the best of those that came farthest."""
    deepest = max(reached.values())
    ids = [i for i, blocks in reached.items() if blocks == deepest]
    return int(ranked(ids, deepest, world)[0]), sum(reached.values())


def apart(world: AnyWorld) -> Found:
    """As many images as the full grid, each recipe on prompts and seeds of its own."""
    ids = world.everything()
    means = world.apart(ids, BLOCKS)
    return int(ids[int(np.argmax(means))]), BLOCKS * len(ids)


def one_image(world: AnyWorld) -> Found:
    """The X/Y plot: every recipe once, all on the same prompt and seed."""
    ids = world.everything()
    first = [world.scores[int(i), 0] for i in ids]
    return int(ids[int(np.argmax(first))]), len(ids)


def on_grid(make: MakeRace) -> Method:
    """All recipes of the grid race together."""

    def run(world: AnyWorld) -> Found:
        race = make(world)
        race.run([Entrant(i) for i in world.everything()])
        return choice(world, race.reached)

    return run


def on_sobol(make: MakeRace, count: int) -> Method:
    """The points of a Sobol sequence race together."""

    def run(world: AnyWorld) -> Found:
        points = qmc.Sobol(axes(world), rng=1).random(count)
        race = make(world)
        race.run([Entrant(world.at(point)) for point in points])
        return choice(world, race.reached)

    return run


def everything(world: AnyWorld) -> Any:
    """No race."""
    return Everything(world, BLOCKS)


def halving(start: int, eta: float = 2.0, keep: int = 3) -> MakeRace:
    """Successive halving."""
    return lambda world: Halving(world, rungs(start, BLOCKS, eta), eta=eta, keep=keep)


def posterior(start: int, keep: int = 3, regret: float = 0.03) -> MakeRace:
    """The posterior race."""
    return lambda world: Posterior(world, BLOCKS, start=start, keep=keep, regret=regret)


def frace(p: float = 0.1) -> MakeRace:
    """F-race."""
    return lambda world: FRace(world, BLOCKS, p=p)


def sampled(make: MakeRace, kind: str, trials: int, ask: int = 8) -> Method:
    """Waves of a study's sampler, each raced; told the baseline's mean plus the paired gain.

    The baseline is the middle of the space; its images count.
    """

    def run(world: AnyWorld) -> Found:
        middle = world.at([0.5] * axes(world))
        base = world.scores[int(middle)]
        race, book = (
            make(world),
            TrialBook(
                search_config(world, kind, trials, ask),
                directions=["maximize"],
                to_recipe=to_recipe,
            ),
        )
        while turns := book.turns(ask):
            ids = [world.at([turn.point[name] for name in space(world)]) for turn in turns]
            fresh = dict.fromkeys(i for i in ids if i not in race.reached)
            if fresh:
                race.run([Entrant(i) for i in fresh])
            for turn, i in zip(turns, ids, strict=True):
                blocks = race.reached[i]
                gain = clustered_mean(world.scores[int(i), :blocks] - base[:blocks], NAMES[:blocks])
                book.tell(turn, [float(clustered_mean(base, NAMES) + gain)])
        chosen, images = choice(world, race.reached)
        return chosen, images + (0 if middle in race.reached else BLOCKS)

    return run


def axes(world: AnyWorld) -> int:
    """How many parameters."""
    return len(SIZES) if isinstance(world, Unstructured) else AXES


def space(world: AnyWorld) -> dict[str, Any]:
    """Parameters in [0, 1); names that mean nothing, but for one that a study demands."""
    names = ["rescale", *(f"dummy_{i}" for i in range(1, axes(world)))]
    if isinstance(world, Smooth):
        return {name: {"float": [0.0, 1.0]} for name in names}
    return {
        name: [round((i + 0.5) / size, 4) for i in range(size)]
        for name, size in zip(names, SIZES, strict=True)
    }


def search_config(world: AnyWorld, kind: str, trials: int, ask: int) -> StudyConfig:
    """A study file for `TrialBook`."""
    return StudyConfig.model_validate(
        {
            "name": "bench",
            "prompts": sorted(set(NAMES)),
            "space": space(world),
            "objectives": ["clip"],
            "design": {"kind": kind, "trials": trials},
            "race": {"ask": ask},
        }
    )


def to_recipe(point: Mapping[str, Any]) -> Recipe:
    """A recipe for the book to hold; the world looks at the point."""
    return Recipe(rescale=point["rescale"])


def optuna_tpe(trials: int, *, prune: bool) -> Method:
    """Optuna as its tutorial shows it: one trial after another, the mean of its blocks returned.

    With `prune`, the WilcoxonPruner (p .1) is asked after every block, and a stopped trial returns
    the mean of the blocks it has. Chosen is the best of the trials that were never stopped.
    """

    def run(world: AnyWorld) -> Found:
        seed = int(world.random.integers(2**31))
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        reached: dict[str, int] = {}
        best: Floats = np.zeros(0)
        for _ in range(trials):
            trial = study.ask()
            name = world.at([suggest(trial, n, p) for n, p in space(world).items()])
            scores = world.scores[int(name)]
            blocks = stopped_at(scores, best) if prune else BLOCKS
            value = float(scores[:blocks].mean())
            study.tell(trial, value)
            if not len(best) or value > best.mean():
                best = scores[:blocks]
            reached[name] = max(blocks, reached.get(name, 0))
        ids = [i for i, blocks in reached.items() if blocks == BLOCKS]
        chosen = max(ids, key=lambda i: float(world.scores[int(i)].mean()))
        return int(chosen), sum(reached.values())

    return run


def stopped_at(scores: Floats, best: Floats, p: float = 0.1) -> int:
    """Blocks that a trial gets from Optuna's WilcoxonPruner (5.0), `best` being its best trial's.

    The pruner's own rule on continuous scores, where the signed-rank test is exact, without its
    5 ms for each block; `tests/benchmarks` holds it against the pruner itself.
    """
    for blocks in range(2, len(scores) if len(best) else 0):
        gains = scores[: min(blocks, len(best))] - best[:blocks]
        ranks = np.argsort(np.argsort(np.abs(gains))) + 1
        low = null_ranks(len(gains))[int(ranks[gains > 0].sum())]
        if len(gains) >= 2 and low < p and best.mean() > scores[:blocks].mean():
            return blocks
    return len(scores)


@cache
def null_ranks(count: int) -> Floats:
    """P(sum of positive ranks <= w) for w = 0, 1, ... where signs are fair coins."""
    chance = np.ones(1)
    for rank in range(1, count + 1):
        longer = np.zeros(len(chance) + rank)
        longer[: len(chance)] += chance / 2
        longer[rank:] += chance / 2
        chance = longer
    return np.cumsum(chance)


def suggest(trial: Any, name: str, param: Any) -> float:
    """Optuna's value of one parameter."""
    if isinstance(param, list):
        return float(trial.suggest_categorical(name, param))
    return float(trial.suggest_float(name, *param["float"]))


def has_smac() -> bool:
    """Is SMAC there? It is no dependency; see the top of `images_needed.py`."""
    return importlib.util.find_spec("smac") is not None


def smac(budget: int) -> Method:
    """SMAC's algorithm configuration: blocks are its instances, prompt and seed their features."""

    def run(world: AnyWorld) -> Found:
        from ConfigSpace import Categorical, ConfigurationSpace, Float
        from smac import AlgorithmConfigurationFacade, Scenario
        from smac.main.exceptions import ConfigurationSpaceExhaustedException

        names = space(world)
        params = [
            Categorical(n, p) if isinstance(p, list) else Float(n, tuple(p["float"]))
            for n, p in names.items()
        ]
        cells: set[tuple[str, int]] = set()

        def cost(config: Any, instance: str, seed: int = 0) -> float:
            name = world.at([config[n] for n in names])
            cells.add((name, int(instance)))
            return -float(world.scores[int(name), int(instance)])

        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            instances = [str(i) for i in range(BLOCKS)]
            own = int(world.random.integers(2**31))
            scenario = Scenario(
                ConfigurationSpace(space=params, seed=own),
                instances=instances,
                instance_features={i: [int(i) % 8, int(i) // 8] for i in instances},
                n_trials=budget,
                deterministic=True,
                seed=own,
                output_directory=folder,
            )
            facade = AlgorithmConfigurationFacade(scenario, cost, logging_level=False)
            try:
                found = facade.optimize()
            except ConfigurationSpaceExhaustedException:  # it knows all recipes by now
                found = facade.intensifier.get_incumbents()
        logging.disable(logging.NOTSET)
        best = found[0] if isinstance(found, list) else found
        return int(world.at([best[n] for n in names])), len(cells)

    return run
