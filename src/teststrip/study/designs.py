"""Recipes that are all chosen before the first image: grid, Sobol, random and factorial designs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from teststrip.recipe import canonical_json
from teststrip.study.space import DUMMY, Param, Point, Space

if TYPE_CHECKING:
    from teststrip.study.config import Design

MAX_DRAWS = 2**16
MAX_CANDIDATES = 8192
Fits = Callable[[Point], bool]


def design_points(design: "Design", space: Space, fits: Fits) -> list[Point]:
    """The points of a fixed design, without those that break a constraint or repeat another.

    `grid`: every combination; dummies are dealt out at random rather than crossed, since crossing
    would repeat every image. `sobol`: a scrambled Sobol sequence (Owen 1998; scipy.stats.qmc),
    which fills the space evenly and is what importance should be estimated on. `random`:
    independent draws from the same ranges. `factorial`: every
    choice and both ends of every range, crossed; with fewer `trials` than that, a nearly
    orthogonal part of it.
    """
    if design.kind == "sobol":
        draws = _distinct(_sobol(space, design.seed), fits)
        return list(islice(draws, design.trials or 0))
    rng = np.random.default_rng(design.seed)
    if design.kind == "random":
        return list(islice(_distinct(_random(space, rng), fits), design.trials or 0))
    solid = Space({n: p for n, p in space.params.items() if not n.startswith(DUMMY)})
    if design.kind == "grid":
        points = list(_distinct(solid.cross(lambda p: p.levels or ()), fits))
        if design.trials is not None and design.trials < len(points):
            chosen = sorted(rng.permutation(len(points))[: design.trials])
            points = [points[i] for i in chosen]
        return _with_dummies(points, space, rng)
    points = list(islice(_distinct(solid.cross(lambda p: p.corners), fits), MAX_CANDIDATES))
    points = _with_dummies(points, space, rng)
    if design.trials is not None and design.trials < len(points):
        points = [points[i] for i in nearly_orthogonal(points, design.trials, rng)]
    return points


def _distinct(points: Iterable[Point], fits: Fits) -> Iterator[Point]:
    seen = set()
    for point in points:
        name = canonical_json({k: v for k, v in point.items() if not k.startswith(DUMMY)})
        if name not in seen and fits(point):
            seen.add(name)
            yield point


def _sobol(space: Space, seed: int) -> Iterator[Point]:
    from scipy.stats import qmc

    names = list(space.params)
    engine = qmc.Sobol(d=len(names), scramble=True, rng=seed)
    count = 1
    while count <= MAX_DRAWS:  # powers of two keep the sequence balanced
        for row in engine.random(count):
            yield _drawn(space, names, row)
        count = engine.num_generated


def _random(space: Space, rng: np.random.Generator) -> Iterator[Point]:
    names = list(space.params)
    for _ in range(MAX_DRAWS):
        yield _drawn(space, names, rng.random(len(names)))


def _drawn(space: Space, names: Sequence[str], row: NDArray[np.float64]) -> Point:
    shares = dict(zip(names, row.tolist(), strict=True))
    return space.draw(partial(_at, shares))


def _at(shares: Mapping[str, float], name: str, param: Param) -> Any:
    return param.at(shares[name])


def _with_dummies(points: list[Point], space: Space, rng: np.random.Generator) -> list[Point]:
    """Deal each dummy's values out evenly, in random order."""
    out = [dict(point) for point in points]
    for name, param in space.params.items():
        if name.startswith(DUMMY):
            order = rng.permutation(len(out))
            for place, i in enumerate(order):
                out[i][name] = param.at((place % 1024 + 0.5) / min(len(out), 1024))
    return out


def nearly_orthogonal(points: Sequence[Point], count: int, rng: np.random.Generator) -> list[int]:
    """Indices of `count` points that are as far from agreeing with each other as can be.

    Greedy J2-optimality (Xu 2002, Technometrics 44:356): two rows agree in a weighted number of
    columns, and the sum of its square over all pairs is least for an orthogonal array.
    """
    names = sorted({name for point in points for name in point})
    codes: dict[str, dict[str, int]] = {name: {} for name in names}
    table: NDArray[np.intp] = np.array(
        [[_code(codes[n], point.get(n)) for n in names] for point in points]
    )
    weights = np.array([len(codes[n]) for n in names], dtype=float)
    chosen = [int(rng.integers(len(points)))]
    cost = np.zeros(len(points))
    while len(chosen) < count:
        agree = (table == table[chosen[-1]]) @ weights
        cost += agree**2
        cost[chosen[-1]] = np.inf
        chosen.append(int(np.argmin(cost)))
    return chosen


def _code(codes: dict[str, int], value: Any) -> int:
    return codes.setdefault(canonical_json(value), len(codes))
