"""Does the evidence keep its promises? Simulated studies with known truth, counted.

    .venv/bin/python benchmarks/evidence/calibration.py            # 8 minutes on 2 cores
    .venv/bin/python benchmarks/evidence/calibration.py --worlds 40

Every world is a study: recipes x prompts x seeds with variances recipe 0.25, prompt 1, seed 0.6,
recipe x prompt 0.25, residual 0.5. `Gaussian`; `heavy tails`: residuals of Student's t with 3
degrees of freedom; `unequal`: recipes whose spread differs by up to a factor of 3. Raced studies
stop recipes by halving 4 -> 32. "The truth" is over all prompts that could be drawn, never over the
study's own. Seeds are fixed: the tables are the same on every run.
"""

import argparse
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 20_261_121
VARIANCES = {
    "recipe": 0.25,
    "prompt": 1.0,
    "seed": 0.6,
    "recipe x prompt": 0.25,
    "residual": 0.5,
}
SHAPES = ("Gaussian", "heavy tails", "unequal")
CHUNK = 20  # worlds of one task

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Counts = dict[str, list[float]]


@dataclass(frozen=True)
class Design:
    """How many of what, and whether a race stopped some."""

    recipes: int
    prompts: int
    seeds: int
    raced: bool = False

    @property
    def name(self) -> str:
        """`12 recipes, 8 x 4, raced`."""
        race = ", raced" if self.raced else ""
        return f"{self.recipes} recipes, {self.prompts} x {self.seeds}{race}"


DESIGNS = (
    Design(12, 4, 4),
    Design(12, 8, 4),
    Design(12, 16, 2),
    Design(12, 32, 1),
    Design(12, 64, 1),
    Design(24, 8, 4, raced=True),
    Design(24, 32, 1, raced=True),
)


@dataclass(frozen=True)
class World:
    """What is true: what each recipe is worth [R] and how far its scores spread [R]."""

    shape: str
    truth: Floats
    spread: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator, shape: str, recipes: int, null: bool) -> "World":
        """A world; in a null world no recipe is better than another."""
        truth = np.zeros(recipes) if null else rng.normal(0, VARIANCES["recipe"] ** 0.5, recipes)
        spread = np.ones(recipes)
        if shape == "unequal":  # 1 to 3, evenly in its logarithm; mean square 1
            spread = 3 ** rng.uniform(0, 1, recipes) / (4 / math.log(3)) ** 0.5
        return cls(shape, truth, spread)

    def study(self, rng: np.random.Generator, prompts: int, seeds: int) -> tuple[Floats, Ints]:
        """(scores [R, B], prompt of each block [B]) on prompts and seeds never seen before."""
        prompt_of = np.tile(np.arange(prompts), seeds)
        R, B = len(self.truth), len(prompt_of)
        sd = {name: value**0.5 for name, value in VARIANCES.items()}
        noise = rng.normal(size=(R, B))
        if self.shape == "heavy tails":
            noise = rng.standard_t(3, (R, B)) / 3**0.5
        own = sd["recipe x prompt"] * rng.normal(size=(R, prompts))[:, prompt_of]
        values = self.truth[:, None] + self.spread[:, None] * (own + sd["residual"] * noise)
        values += rng.normal(0, sd["prompt"], prompts)[prompt_of] + rng.normal(0, sd["seed"], B)
        return values, prompt_of.astype(np.intp)


def halving(values: Floats, start: int = 4, keep: int = 3) -> NDArray[np.bool_]:
    """What a race 4 -> 8 -> 16 -> 32 makes; recipe 0, the baseline, runs to the end."""
    recipes, blocks = values.shape
    made, alive, n = np.zeros(values.shape, dtype=bool), np.arange(recipes), start
    while True:
        n = min(n, blocks)
        made[alive, :n] = made[0, :n] = True
        if n == blocks:
            return made
        means = values[alive, :n].mean(axis=1)
        alive = alive[np.argsort(-means, kind="stable")[: max(keep, -(-len(alive) // 2))]]
        n *= 2


def table_of(values: Floats, prompt_of: Ints, made: NDArray[np.bool_]):
    """The table of images, as a study writes it."""
    import pandas as pd

    from teststrip.evidence.table import checked

    i, b = np.nonzero(made)
    prompts = int(prompt_of.max()) + 1
    return checked(
        pd.DataFrame(
            {
                "recipe_id": [f"r{k:03d}" for k in i],
                "prompt_id": [f"p{k:03d}" for k in prompt_of[b]],
                "seed": b // prompts,
                "block": b,
                "recipe.steps": i,
                "score@1": values[i, b],
            }
        )
    )


def simulate(design: Design, shape: str, task: int, worlds: int) -> Counts:
    """Numbers of some worlds, by name; what has no meaning for a design is not there."""
    from teststrip.evidence.facts import StudyFacts

    rng = np.random.default_rng([SEED, DESIGNS.index(design), SHAPES.index(shape), task])
    facts = StudyFacts(
        name="world", objective="score@1", baseline="r000", varied=("steps",), confidence=0.95
    )
    counts: Counts = {}
    for _ in range(worlds):
        for name, value in _null(rng, design, shape, facts):
            counts.setdefault(name, []).append(value)
        for name, value in _real(rng, design, shape, facts):
            counts.setdefault(name, []).append(value)
    return counts


def _study(rng, world, design, facts):
    from teststrip.evidence.ranking import rank

    values, prompt_of = world.study(rng, design.prompts, design.seeds)
    made = halving(values) if design.raced else np.ones(values.shape, dtype=bool)
    table = table_of(values, prompt_of, made)
    return table, rank(table, facts)


def _null(rng, design, shape, facts) -> Iterator[tuple[str, float]]:
    """Nothing is better: who says so?"""
    from teststrip.evidence.compare import against
    from teststrip.evidence.grid import build
    from teststrip.evidence.ranking import BETTER

    world = World.drawn(rng, shape, design.recipes, null=True)
    _, ranking = _study(rng, world, design, facts)
    yield "false better, search", bool(ranking.better)
    values, prompt_of = world.study(rng, design.prompts, design.seeds)
    fresh = build(table_of(values, prompt_of, np.ones(values.shape, dtype=bool)), facts)
    leaders = [row.recipe_id for row in ranking.rows if row.recipe_id != "r000"][:3]
    rows = against(fresh, leaders, "r000", 0.95)
    yield "false better, confirm", any(row.verdict == BETTER for row in rows)


def _real(rng, design, shape, facts) -> Iterator[tuple[str, float]]:
    """Recipes differ: are the intervals, the best set and P(best) right?"""
    from teststrip.evidence import mixed, standing, variance
    from teststrip.evidence.grid import build

    world = World.drawn(rng, shape, design.recipes, null=False)
    table, ranking = _study(rng, world, design, facts)
    grid = build(table, facts)
    fit = mixed.fit(grid)
    truth = {name: world.truth[int(name[1:])] for name in grid.recipes}
    true_best = max(truth, key=truth.__getitem__)

    gain = ranking.row("r001").gain
    yield "gain interval", gain.low <= truth["r001"] - truth["r000"] <= gain.high
    yield "gain width", gain.high - gain.low
    held = ranking.best_set + ranking.not_ruled_out
    yield "true best kept", true_best in held
    yield "kept", len(held)

    known = standing.standings(grid, ranking, facts, fit)
    chances = standing.p_best(fit)
    favourite = max(chances, key=chances.__getitem__)
    yield "P(best) said", chances[favourite]
    yield "P(best) true", favourite == true_best
    yield "P(best) of leader said", chances[ranking.best]
    yield "P(best) of leader true", ranking.best == true_best
    if design.raced:
        yield "best was stopped, said", standing.p_best_elsewhere(ranking, fit)
        yield "best was stopped, true", ranking.row(true_best).stopped
    if ranking.best != "r000":
        shrunk = known[ranking.best].gain
        true = truth[ranking.best] - truth["r000"]
        yield "winner's interval", shrunk.low <= true <= shrunk.high
        yield "winner's bias, shrunk", shrunk.mean - true
        yield "winner's bias, naive", ranking.row(ranking.best).gain.mean - true
    shares = variance.decompose(grid, fit, 0.95).shares
    total = sum(VARIANCES.values())
    for share in shares:
        parts = share.source.replace("recipe x prompt", "recipe×prompt").split(" and ")
        true = sum(VARIANCES[part.replace("×", " x ")] for part in parts) / total
        yield f"share of {share.source}", share.low <= true <= share.high


def run(worlds: int, processes: int) -> dict[tuple[str, str], Counts]:
    """(design, shape) -> the numbers of all its worlds."""
    tasks = [
        (design, shape, first // CHUNK, min(CHUNK, worlds - first))
        for design in DESIGNS
        for shape in SHAPES
        for first in range(0, worlds, CHUNK)
    ]
    out: dict[tuple[str, str], Counts] = {}
    with ProcessPoolExecutor(processes) as pool:
        for task, found in zip(tasks, pool.map(simulate, *zip(*tasks, strict=True)), strict=True):
            into = out.setdefault((task[0].name, task[1]), {})
            for name, values in found.items():
                into.setdefault(name, []).extend(values)
    return out


def share(values: Sequence[float]) -> str:
    """`94.8 %`, with the Monte Carlo error of the table's size."""
    p = float(np.mean(values))
    return f"{100 * p:.1f} ± {196 * math.sqrt(max(p * (1 - p), 1e-4) / len(values)):.1f}"


def mean(values: Sequence[float]) -> str:
    """`+0.012 ± 0.004`."""
    error = 1.96 * float(np.std(values)) / math.sqrt(len(values))
    return f"{float(np.mean(values)):+.3f} ± {error:.3f}"


def show(title: str, columns: Sequence[tuple[str, str, str]], found) -> None:
    """One Markdown table: a row per design, all shapes, then all worlds together.

    `columns`: (name in the table, name of the numbers, `%` or `mean`).
    """
    kept = [c for c in columns if any(c[1] in counts for counts in found.values())]
    print(f"\n### {title}\n")
    print("| design | scores | " + " | ".join(name for name, _, _ in kept) + " |")
    print("|" + "---|" * (len(kept) + 2))
    pooled: Counts = {}
    for (design, shape), counts in found.items():
        cells = [_cell(counts.get(key), kind) for _, key, kind in kept]
        if any(cells):
            print(f"| {design} | {shape} | " + " | ".join(cells) + " |")
        for _, key, _ in kept:
            pooled.setdefault(key, []).extend(counts.get(key, []))
    cells = [_cell(pooled[key], kind) for _, key, kind in kept]
    print("| **all** | | " + " | ".join(cells) + " |")


def _cell(values: Sequence[float] | None, kind: str) -> str:
    if not values:
        return ""
    return share(values) if kind == "%" else mean(values)


def report(found: dict[tuple[str, str], Counts], worlds: int) -> None:
    """Print all tables."""
    print(f"{worlds} worlds for each row; ± is the 95 % Monte Carlo error. Shares in %.")
    show(
        'Nothing is better: how often does a report say "better than the baseline"? (target <= 5)',
        [
            ("search", "false better, search", "%"),
            ("confirm, 3 leaders on fresh prompts", "false better, confirm", "%"),
        ],
        found,
    )
    show(
        "95 % intervals: how often do they hold the truth? (target 93 to 97)",
        [
            ("paired gain of a recipe", "gain interval", "%"),
            ("winner's gain, shrunk", "winner's interval", "%"),
            ("winner's bias, shrunk", "winner's bias, shrunk", "mean"),
            ("winner's bias, naive", "winner's bias, naive", "mean"),
        ],
        found,
    )
    show(
        "Best set, with the stopped recipes that are not ruled out (target >= 95), and P(best)",
        [
            ("holds the true best", "true best kept", "%"),
            ("recipes in it", "kept", "mean"),
            ("favourite's P(best)", "P(best) said", "mean"),
            ("favourite is the best", "P(best) true", "%"),
            ("leader's P(best)", "P(best) of leader said", "mean"),
            ("leader is the best", "P(best) of leader true", "%"),
            ("best was stopped: said", "best was stopped, said", "mean"),
            ("it was", "best was stopped, true", "%"),
        ],
        found,
    )
    sources = ("recipe", "prompt", "seed", "recipe x prompt", "residual")
    merged = ("prompt and seed", "recipe x prompt and residual")
    show(
        "Intervals of variance shares: how often do they hold the truth? (target 93 to 97)",
        [(source, f"share of {source}", "%") for source in sources + merged],
        found,
    )


def main() -> None:
    """Run all worlds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=160, help="for each row (160)")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read when a process of the pool loads numpy's BLAS
    report(run(given.worlds, given.processes), given.worlds)


if __name__ == "__main__":
    main()
