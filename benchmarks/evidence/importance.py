"""Is importance to be trusted? Studies with known truth: what dummies reach, what is found.

    .venv/bin/python benchmarks/evidence/importance.py             # under 3 minutes on 2 cores
    .venv/bin/python benchmarks/evidence/importance.py --worlds 40 --histories 4

Every world is a screening study: recipes from the product's own designs (Sobol, random, full
grid; "raced" is the first rung of a race: 4 blocks of all recipes), 4, 8, 16 or 32 prompts with one
seed each. Standard deviations: prompt 1, seed 0.6, recipe x prompt 0.25, residual 0.5. `heavy`:
residuals of Student's t with 3 degrees of freedom, and recipes whose spread differs by up to a
factor of 4. Four parameters are real (a hill, a rise that ends, one choice of four that is better,
a straight line), two do nothing. `pair`: the first two also depend on each other. `null`: none of
the six does anything.

The same worlds are given to Optuna's PED-ANOVA: on a TPE history with one noisy image for each
trial, and on the screening data. (Optuna's fANOVA needs scikit-learn, which is not installed.)
"""

import argparse
import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from teststrip.evidence import anova
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import build
from teststrip.evidence.importance import importance
from teststrip.evidence.table import checked
from teststrip.evidence.terms import bases

SEED = 20_261_121
PROMPTS = (4, 8, 16, 32)
SHAPES = ("Gaussian", "heavy")
REAL = ("guidance", "steps", "scheduler", "rescale")
DUMMIES = ("dummy_a", "dummy_b")
CHOICES = ("ddim", "euler", "pndm", "unipc")
CHUNK = 20  # worlds of one task
TRIALS = 100  # of a TPE history
SD = {"prompt": 1.0, "seed": 0.6, "recipe_prompt": 0.25, "residual": 0.5}
KINDS = ("real", "pair", "null")

Floats = NDArray[np.float64]
Point = dict[str, float | str]
Counts = dict[str, list[float]]


@dataclass(frozen=True)
class Design:
    """How recipes are chosen, how many, and whether only the first rung of a race is complete."""

    kind: str
    recipes: int
    raced: bool = False

    @property
    def name(self) -> str:
        """`sobol 64, raced`."""
        return f"{self.kind} {self.recipes}" + (", raced" if self.raced else "")


DESIGNS = (
    Design("sobol", 64),
    Design("sobol", 32),
    Design("random", 64),
    Design("grid", 36),
    Design("sobol", 64, raced=True),
)


def points(design: Design, rng: np.random.Generator) -> list[Point]:
    """The recipes, parameters in [0, 1] or words."""
    from teststrip.study.config import Design as StudyDesign
    from teststrip.study.designs import design_points
    from teststrip.study.space import Param, Space

    if design.kind == "random":
        return [
            {name: float(rng.random()) for name in (*REAL, *DUMMIES)}
            | {"scheduler": str(rng.choice(CHOICES))}
            for _ in range(design.recipes)
        ]
    unit = {"float": (0.0, 1.0)}
    if design.kind == "grid":
        space = {
            "guidance": [0.0, 0.5, 1.0],
            "steps": [0.0, 0.5, 1.0],
            "scheduler": CHOICES[:2],
            "rescale": [0.0, 1.0],
        }
    else:
        space = {"guidance": unit, "steps": unit, "scheduler": CHOICES, "rescale": unit}
    space |= dict.fromkeys(DUMMIES, unit)
    trials = design.recipes if design.kind == "sobol" else None
    chosen = StudyDesign(kind=design.kind, trials=trials, seed=int(rng.integers(2**31)))
    made = Space({name: Param.model_validate(value) for name, value in space.items()})
    return design_points(chosen, made, lambda _: True)


def truth(point: Point, kind: str) -> float:
    """The score that the recipe would have over all prompts, prompt and seed aside."""
    if kind == "null":
        return 0.0
    x = float(point["guidance"]) - 0.5
    y = min(float(point["steps"]), 0.5) - 0.35
    own = 0.4 - 2.4 * x**2 + 1.0 * y + 0.25 * (point["scheduler"] == CHOICES[0])
    pair = 2.0 * x * (float(point["steps"]) - 0.5) if kind == "pair" else 0.0
    return own + 0.3 * float(point["rescale"]) + pair


def noise(rng: np.random.Generator, shape: str, recipes: int, prompts: int) -> tuple[Floats, float]:
    """([R, P] noise around the truth, its variance of one cell averaged over recipes)."""
    spread = rng.uniform(0.4, 1.6, recipes) if shape == "heavy" else np.ones(recipes)
    size = (recipes, prompts)
    residual = rng.standard_t(3, size) / 3**0.5 if shape == "heavy" else rng.normal(size=size)
    own = SD["recipe_prompt"] * rng.normal(size=size) + SD["residual"] * residual
    variance = (SD["recipe_prompt"] ** 2 + SD["residual"] ** 2) * float((spread**2).mean())
    shared = SD["prompt"] * rng.normal(size=prompts) + SD["seed"] * rng.normal(size=prompts)
    return spread[:, None] * own + shared, variance


def table_of(settings: Sequence[Point], values: Floats, made: NDArray[np.bool_]) -> pd.DataFrame:
    """The table of images of such a world."""
    recipe, block = np.nonzero(made)
    columns = {
        "recipe_id": np.array([f"r{i:03d}" for i in range(len(settings))])[recipe],
        "prompt_id": np.array([f"p{i:02d}" for i in range(values.shape[1])])[block],
        "seed": 0,
        "block": block,
        "score": values[recipe, block],
    }
    for name in settings[0]:
        prefix = "param." if name in DUMMIES else "recipe."
        columns[prefix + name] = np.array([point[name] for point in settings])[recipe]
    return checked(pd.DataFrame(columns))


def true_shares(
    design: Design, settings: Sequence[Point], effects: Floats, variance: float
) -> dict[str, float]:
    """What `Term.share` estimates: the same ratio with its expected sums of squares.

    A full grid's settings do not overlap with each other, and its dummies are judged apart.
    """
    recipes = len(settings)
    names = REAL if design.kind == "grid" else tuple(settings[0])
    found, _ = bases({n: [p[n] for p in settings] for n in names}, recipes)
    centred = effects - effects.mean()
    total = float((centred**2).sum()) + (recipes - 1) * variance
    shares = {}
    for one, basis in zip(anova.pieces([b.columns for b in found]), found, strict=True):
        squares, left = anova.partial(one, centred)
        misfit = 0.0 if design.kind == "grid" else one.df * left / one.noise_df
        shares[basis.field] = float(squares - misfit) / total
    return shares


def simulate(design: Design, shape: str, kind: str, task: int, worlds: int) -> Counts:
    """Counts of one scenario: lists of 0 and 1 by name."""
    numbers = [DESIGNS.index(design), SHAPES.index(shape), KINDS.index(kind)]
    rng = np.random.default_rng([SEED, *numbers, task])
    counts: Counts = {}
    for world in range(worlds):
        prompts = 32 if design.raced else PROMPTS[world % len(PROMPTS)]
        for name, value in _one(rng, design, shape, kind, prompts):
            counts.setdefault(name, []).append(float(value))
    return counts


def _one(rng, design, shape, kind, prompts):
    settings = points(design, rng)
    effects = np.array([truth(point, kind) for point in settings])
    around, variance = noise(rng, shape, len(settings), prompts)
    made = np.ones(around.shape, dtype=bool)
    if design.raced:
        first = (effects[:, None] + around)[:, :4].mean(axis=1)
        made[first < np.median(first), 4:] = False
    table = table_of(settings, effects[:, None] + around, made)
    facts = StudyFacts("sim", "score", varied=tuple(settings[0]), design=design.kind)
    found = importance(table, facts, build(table, facts))
    assert not found.refused
    assert found.prompts == (4 if design.raced else prompts)
    nulls = {*DUMMIES, *(REAL if kind == "null" else ())}
    shown = [t for t in found.mains if t.shown]
    yield "null shown", any(t.name in nulls for t in shown)
    yield "null first", bool(shown) and found.mains[0].name in nulls
    pairs = [t for t in found.pairs if t.shown]
    yield "false pair", any(kind != "pair" or t.fields != ("guidance", "steps") for t in pairs)
    if kind == "pair":
        yield "pair found", any(t.fields == ("guidance", "steps") for t in pairs)
    if kind == "null":
        return
    for term in found.mains:
        if term.name not in nulls:
            yield term.name, term.shown
    if kind == "real":
        true = true_shares(design, settings, effects, variance / found.prompts)
        for term in found.mains:
            if term.name not in true:
                continue
            inside = term.share.low <= max(true[term.name], 0.0) <= term.share.high
            yield "covers " + ("dummy" if term.is_dummy else "real"), inside
            if not term.is_dummy:
                yield f"covers {found.prompts}", inside


def histories(task: int, worlds: int) -> Counts:
    """Optuna's PED-ANOVA and ours, in the same worlds of four real parameters and two dummies."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng([SEED, 99, task])
    one_image = sum(v**2 for v in SD.values()) ** 0.5
    counts: Counts = {}
    for world in range(worlds):
        sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(TRIALS):
            trial = study.ask(_space())
            study.tell(trial, truth(trial.params, "real") + one_image * float(rng.normal()))
        _count(counts, "PED-ANOVA, TPE history, one image each", _ped(study))
        settings = points(DESIGNS[0], rng)
        effects = np.array([truth(point, "real") for point in settings])
        around, _ = noise(rng, "Gaussian", len(settings), PROMPTS[world % len(PROMPTS)])
        values = effects[:, None] + around
        screen = optuna.create_study(direction="maximize")
        for point, value in zip(settings, values.mean(axis=1), strict=True):
            screen.add_trial(
                optuna.trial.create_trial(params=point, distributions=_space(), value=float(value))
            )
        _count(counts, "PED-ANOVA, screening design, all prompts", _ped(screen))
        table = table_of(settings, values, np.ones(values.shape, dtype=bool))
        facts = StudyFacts("sim", "score", varied=tuple(settings[0]), design="sobol")
        found = importance(table, facts, build(table, facts))
        ours = {t.name: t.share.mean for t in found.mains if t.shown}
        _count(counts, "Teststrip, screening design, those shown", ours)
    return counts


def _space():
    import optuna

    unit = optuna.distributions.FloatDistribution(0, 1)
    return {n: unit for n in (*REAL, *DUMMIES) if n != "scheduler"} | {
        "scheduler": optuna.distributions.CategoricalDistribution(CHOICES)
    }


def _ped(study) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def _count(counts: Counts, who: str, shares: dict[str, float]) -> None:
    total = sum(shares.values())
    first = max(shares, key=lambda n: shares[n]) if shares else ""
    counts.setdefault(f"{who}|share", []).append(
        sum(shares.get(n, 0.0) for n in DUMMIES) / total if total else 0.0
    )
    counts.setdefault(f"{who}|first", []).append(float(first in DUMMIES))
    counts.setdefault(f"{who}|named", []).append(float(any(n in shares for n in DUMMIES)))


def run(
    worlds: int, rounds: int, processes: int
) -> tuple[dict[tuple[str, str, str], Counts], Counts]:
    """All scenarios and all histories, in chunks that do not depend on `processes`."""
    found: dict[tuple[str, str, str], Counts] = {}
    optunas: Counts = {}
    # started afresh, they take the number of threads from the environment
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = []
        for design in DESIGNS:
            for shape in SHAPES:
                for kind in KINDS:
                    for task, start in enumerate(range(0, worlds, CHUNK)):
                        count = min(CHUNK, worlds - start)
                        job = pool.submit(simulate, design, shape, kind, task, count)
                        waiting.append(((design.name, shape, kind), job))
        ped = [pool.submit(histories, t, min(4, rounds - 4 * t)) for t in range(-(-rounds // 4))]
        for key, job in waiting:
            _join(found.setdefault(key, {}), job.result())
        for job in ped:
            _join(optunas, job.result())
    return found, optunas


def _join(into: Counts, more: Counts) -> None:
    for name, values in more.items():
        into.setdefault(name, []).extend(values)


def share(values: Sequence[float]) -> str:
    """`4.2 ± 1.1`, in per cent with the 95 % Monte Carlo error."""
    if not values:
        return "–"
    mean = float(np.mean(values))
    return f"{100 * mean:.1f} ± {196 * math.sqrt(mean * (1 - mean) / len(values)):.1f}"


COLUMNS = (
    ("dummy shown", "real", "null shown"),
    ("dummy first", "real", "null first"),
    ("false pair", "real", "false pair"),
    ("with a pair: found", "pair", "pair found"),
    ("other pair", "pair", "false pair"),
    ("dummy shown", "pair", "null shown"),
    ("all null: any shown", "null", "null shown"),
    ("any pair", "null", "false pair"),
    ("interval covers: real", "real", "covers real"),
    ("dummy", "real", "covers dummy"),
)


def report(found: dict[tuple[str, str, str], Counts], optunas: Counts, worlds: int) -> None:
    """Print the tables."""
    print(
        f"{worlds} worlds for each cell; ± is the 95 % Monte Carlo error. Shares of studies in %."
    )
    print("\n### Errors (5 or less are promised; intervals are nominally 95)\n")
    print("| design | scores | " + " | ".join(name for name, _, _ in COLUMNS) + " |")
    print("|" + "---|" * (len(COLUMNS) + 2))
    for design, shape in dict.fromkeys((d, s) for d, s, _ in found):
        cells = [share(found[design, shape, kind].get(name, [])) for _, kind, name in COLUMNS]
        print(f"| {design} | {shape} | " + " | ".join(cells) + " |")
    print("| **all** | | " + " | ".join(share(_all(found, k, n)) for _, k, n in COLUMNS) + " |")
    print("\n### Coverage of the share intervals of real parameters by number of prompts\n")
    print("| " + " | ".join(f"{p} prompts" for p in PROMPTS) + " |\n|" + "---|" * len(PROMPTS))
    print("| " + " | ".join(share(_all(found, "real", f"covers {p}")) for p in PROMPTS) + " |")
    print("\n### Power: real parameters above their null band\n")
    print("| design | scores | " + " | ".join(REAL) + " |\n|" + "---|" * (len(REAL) + 2))
    for design, shape in dict.fromkeys((d, s) for d, s, _ in found):
        cells = [share(found[design, shape, "real"].get(name, [])) for name in REAL]
        print(f"| {design} | {shape} | " + " | ".join(cells) + " |")
    print(
        f"\n### Against Optuna's PED-ANOVA ({TRIALS} trials; 64 Sobol recipes x 4 to 32 prompts)\n"
    )
    print("| method | share given to dummies | a dummy ranked first | a dummy named at all |")
    print("|---|---|---|---|")
    for who in dict.fromkeys(name.partition("|")[0] for name in optunas):
        given = 100 * float(np.mean(optunas[f"{who}|share"]))
        rest = " | ".join(share(optunas[f"{who}|{name}"]) for name in ("first", "named"))
        print(f"| {who} | {given:.1f} | {rest} |")


def _all(found: dict[tuple[str, str, str], Counts], kind: str, name: str) -> list[float]:
    return [v for (_, _, k), c in found.items() if k == kind for v in c.get(name, [])]


def main() -> None:
    """Run all worlds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=80, help="for each cell of the tables")
    parser.add_argument("--histories", type=int, default=40, help="worlds for PED-ANOVA")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are the parallelism
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found, optunas = run(args.worlds, args.histories, args.processes)
    report(found, optunas, args.worlds)


if __name__ == "__main__":
    main()
