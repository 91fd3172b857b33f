"""A curve in words: which levels of a parameter can be told apart, and what that looks like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teststrip.evidence.grid import Floats
from teststrip.evidence.interval import holm, p_value

ALPHA = 0.05
LEVEL = 0.12  # "flat": not distinguishable, and within this part of the way up or down
TOP = 1 / 3  # the same after a turning point
MOST_NAMES = 4
UNSHAPED = "it matters, but no two values can be told apart"


@dataclass(frozen=True)
class Leg:
    """A way up (+1) or down (-1) between two levels that differ, in places among the levels."""

    start: int
    end: int
    way: int


def differences(
    lead: Floats, groups: Sequence[Sequence[int]], noise: float, freedom: int, family: int = 1
) -> NDArray[np.int_]:
    """[L, L]: +1 where the second level is better than the first, -1 worse, 0 cannot be told.

    `lead` [R, U]: recipes' advantages by prompt, other parameters' effects taken off; `noise`: the
    variance of a recipe's mean around the model, with `freedom` degrees of freedom. Two levels
    differ when they do by prompt (paired, so prompts agree on it) and by recipe (so it is more
    than a few recipes' doing): the larger p, Holm-corrected over pairs of levels and `family`.
    """
    from scipy import stats

    count = len(groups)
    means = np.array([lead[list(g)].mean(axis=0) for g in groups])  # [L, U]
    first, second = np.triu_indices(count, 1)
    gaps = means[second] - means[first]
    sizes = np.array([len(g) for g in groups], dtype=float)
    error = np.sqrt(noise * (1 / sizes[first] + 1 / sizes[second]))
    t = np.abs(gaps.mean(axis=1)) / np.maximum(error, 1e-300)
    by_recipe = 2 * stats.t.sf(t, max(freedom, 1))
    p = np.maximum([p_value(gap) for gap in gaps], by_recipe)
    told = holm(np.minimum(p * family, 1.0)) <= ALPHA
    out = np.zeros((count, count), dtype=int)
    out[first, second] = np.sign(gaps.mean(axis=1)) * told
    return out - out.T


def best(labels: Sequence[str], means: Floats, differs: NDArray[np.int_]) -> tuple[str, ...]:
    """The levels that cannot be told from the best one, in their order."""
    top = int(np.argmax(means))
    return tuple(label for k, label in enumerate(labels) if differs[top, k] >= 0)


def of_choices(labels: Sequence[str], means: Floats, differs: NDArray[np.int_]) -> str:
    """`dpmpp_2m, unipc best; pndm worst`; UNSHAPED where nothing can be told."""
    order = np.argsort(-means, kind="stable")
    top, bottom = int(order[0]), int(order[-1])
    if differs[bottom, top] <= 0:
        return UNSHAPED
    if len(labels) == 2:
        return f"{labels[top]} better than {labels[bottom]}"
    good = [k for k in order if differs[k, top] <= 0]
    bad = [k for k in order[::-1] if differs[bottom, k] <= 0 and k not in good]
    return f"{_names(labels, good)} best; {_names(labels, bad)} worst"


def of_numbers(labels: Sequence[str], means: Floats, differs: NDArray[np.int_]) -> str:
    """`rises to 6, flat to 9, then falls`; UNSHAPED where nothing can be told.

    Levels are compared with the start of the current leg, so that many small steps in one
    direction are seen, and a leg ends only where a later level differs from its far end.
    """
    legs = _legs(means, differs)
    if not legs:
        return UNSHAPED
    last, parts, here = len(labels) - 1, [], 0
    for leg in legs:
        leaves, arrives = _bends(leg, means, differs, leg is not legs[0])
        if leaves > here:
            parts.append(f"flat to {labels[leaves]}")
        verb = "rises" if leg.way > 0 else "falls"
        parts.append(verb if arrives == last else f"{verb} to {labels[arrives]}")
        here = arrives
    if parts in (["rises"], ["falls"]):
        text = f"{'higher' if legs[0].way > 0 else 'lower'} is better"
        steps = [differs[k, k + 2] == legs[0].way for k in range(last - 1)]
        return f"{text} throughout" if steps and all(steps) else text
    if here < last:
        height = max(abs(means[leg.end] - means[leg.start]) for leg in legs)
        level = np.ptp(means[here:]) <= 2 * LEVEL * height
        parts.append("flat" if level else "unclear")
    return ", ".join([*parts[:-1], f"then {parts[-1]}"])


def _legs(means: Floats, differs: NDArray[np.int_]) -> list[Leg]:
    legs: list[Leg] = []
    start, end, way = 0, 0, 0
    for k in range(1, len(means)):
        if way == 0:
            told = [i for i in range(k) if differs[i, k]]
            if told:
                start = max(told, key=lambda i: abs(means[k] - means[i]))
                end, way = k, int(differs[start, k])
        elif way * (means[k] - means[end]) > 0:
            end = k
        elif differs[end, k] == -way:
            legs.append(Leg(start, end, way))
            start, end, way = end, k, -way
    return [*legs, Leg(start, end, way)] if way else legs


def _bends(leg: Leg, means: Floats, differs: NDArray[np.int_], turns: bool) -> tuple[int, int]:
    """Where a leg leaves the flat before it, and where it reaches the flat after it."""
    height = abs(float(means[leg.end] - means[leg.start]))
    near, leaves, arrives = LEVEL * height, leg.start, leg.end
    # the top of a hill is only as sharp as can be told
    after = TOP * height if turns else near
    while leaves + 1 < leg.end and _is_flat(leaves + 1, leg.start, after, means, differs):
        leaves += 1
    while arrives - 1 > leaves and _is_flat(arrives - 1, leg.end, near, means, differs):
        arrives -= 1
    return leaves, arrives


def _is_flat(k: int, to: int, near: float, means: Floats, differs: NDArray[np.int_]) -> bool:
    return not differs[k, to] and abs(float(means[k] - means[to])) <= near


def _names(labels: Sequence[str], chosen: Sequence[int]) -> str:
    named = ", ".join(labels[k] for k in chosen[:MOST_NAMES])
    more = len(chosen) - MOST_NAMES
    return f"{named} and {more} more" if more > 0 else named
