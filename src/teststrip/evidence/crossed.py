"""A full grid: every value of each setting with every value of the others, judged by prompt.

There nothing overlaps, and nothing of a recipe is left to chance: an effect is as sure as prompts
agree on it. That is a repeated-measures analysis of variance with the prompt as the subject;
between few recipes (an X/Y plot has 4 to 30) the test over recipes has no power.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, prod

import numpy as np

from teststrip.evidence import anova, permutation
from teststrip.evidence.anova import SEED
from teststrip.evidence.grid import Floats
from teststrip.evidence.interval import Interval, holm
from teststrip.evidence.searched import DUMMY, Searched, show_key

DRAWS = 1999
MOST_DEALT = 100_000_000  # numbers dealt for one term
CHUNK = 2_000_000


@dataclass(frozen=True)
class Crossed:
    """`lead` [U, levels of the first field, of the second, ...]: advantages by prompt."""

    fields: tuple[str, ...]
    lead: Floats

    @property
    def total(self) -> float:
        """Sum of squares between the recipes' means."""
        return float((self.lead.mean(axis=0) ** 2).sum())


@dataclass(frozen=True)
class Judged:
    """One setting or a pair. `share` of the variance between recipes, noise taken off; `band`:
    what one that does nothing reaches by chance; `p`: Holm-corrected over all of its kind."""

    fields: tuple[str, ...]
    share: Interval
    band: float
    p: float


def full_grid(part: Searched) -> Crossed | None:
    """Two or more settings, less dummies, as axes; None unless each combination is there once."""
    fields = tuple(f for f in part.cells if not f.startswith(DUMMY))
    keys = [[show_key(v) for v in part.cells[f]] for f in fields]
    levels = [sorted(set(k)) for k in keys]
    shape = tuple(len(names) for names in levels)
    if len(fields) < 2 or prod(shape) != part.recipes:
        return None
    places = tuple(
        np.array([names.index(k) for k in own]) for names, own in zip(levels, keys, strict=True)
    )
    flat = np.ravel_multi_index(places, shape)
    if len(np.unique(flat)) != part.recipes:
        return None
    lead = np.empty((part.recipes, part.lead.shape[1]))
    lead[flat] = part.lead
    return Crossed(fields, np.moveaxis(lead.reshape(*shape, -1), -1, 0))


def judge(grid: Crossed, size: int, alpha: float, confidence: float) -> list[Judged]:
    """All settings (`size` 1) or all pairs of them (2), in their order.

    Under "does nothing" a prompt's values may be dealt to other levels, prompt by prompt; a
    pair's after its settings' own effects are taken off, along both of its axes.
    """
    found = [_effect(grid, axes) for axes in combinations(range(len(grid.fields)), size)]
    if not found:
        return []
    nulls = [_null(effect, len(found)) for effect in found]
    reached = [_squares(effect.mean(axis=0)) for effect in found]
    p = np.array(
        [
            (1 + (null >= own * (1 - 1e-9)).sum()) / (len(null) + 1)
            for null, own in zip(nulls, reached, strict=True)
        ]
    )
    names = list(combinations(grid.fields, size))
    p_holm, at = holm(p), permutation.holm_levels(p, alpha)
    return [
        Judged(
            fields=names[k],
            share=_share(grid, effect, reached[k], confidence),
            band=float(
                np.clip(_less_noise(effect, permutation.edge(nulls[k], at[k])) / grid.total, 0, 1)
            ),
            p=float(p_holm[k]),
        )
        for k, effect in enumerate(found)
    ]


def too_few_prompts(grid: Crossed, alpha: float) -> tuple[str, ...]:
    """Settings that could not be shown to matter whatever the scores."""
    shape, prompts = grid.lead.shape[1:], len(grid.lead)
    best = [factorial(min(n, 20)) ** (1 - prompts) for n in shape]
    return tuple(f for f, p in zip(grid.fields, best, strict=True) if p * len(grid.fields) > alpha)


def _effect(grid: Crossed, axes: Sequence[int]) -> Floats:
    """[U, levels...], in units in which its squares are the term's sum of squares."""
    others = tuple(k + 1 for k in range(len(grid.fields)) if k not in axes)
    means = grid.lead.mean(axis=others) if others else grid.lead
    for axis in range(1, means.ndim):
        means = means - means.mean(axis=axis, keepdims=True)
    shape = grid.lead.shape[1:]
    return np.asarray(means * (prod(shape) / prod(means.shape[1:])) ** 0.5)


def _squares(effect: Floats) -> float:
    return float((effect**2).sum())


def _null(effect: Floats, terms: int) -> Floats:
    """[n]: sums of squares with each prompt's values dealt to other levels."""
    prompts, shape = len(effect), effect.shape[1:]
    draws = min(max(DRAWS, 100 * terms), max(MOST_DEALT // effect.size, 40 * terms, 499))
    found: list[Floats] = []
    for count in _chunks(draws, effect.size):
        rng = np.random.default_rng([SEED, len(found), *effect.shape])
        dealt = np.broadcast_to(effect, (count, *effect.shape))
        for axis, levels in enumerate(shape, 2):
            one = np.broadcast_to(np.arange(levels), (count, prompts, levels))
            order = rng.permuted(one, axis=2)
            if len(shape) == 2:
                order = np.expand_dims(order, 3 if axis == 2 else 2)
            dealt = np.take_along_axis(dealt, order, axis=axis)
        found.append((dealt.mean(axis=1) ** 2).reshape(count, -1).sum(axis=1))
    return np.concatenate(found)


def _chunks(draws: int, size: int) -> Iterator[int]:
    step = max(1, CHUNK // size)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def _less_noise(effect: Floats, squares: float) -> float:
    """A sum of squares less what the prompts' disagreement alone adds to it, on average."""
    prompts = len(effect)
    if prompts < 2:
        return squares
    return squares - (_squares(effect) / prompts - squares) / (prompts - 1)


def _share(grid: Crossed, effect: Floats, squares: float, confidence: float) -> Interval:
    prompts = len(effect)
    mean = float(np.clip(_less_noise(effect, squares) / grid.total, 0.0, 1.0))

    def of(weights: Floats) -> Floats:  # [n, U] -> [n]
        own = (weights @ effect.reshape(prompts, -1)) ** 2
        every = (weights @ grid.lead.reshape(prompts, -1)) ** 2
        return np.asarray(own.sum(axis=1) / every.sum(axis=1))

    noise = (squares - _less_noise(effect, squares)) / grid.total
    bounds = anova.damped_interval(of, prompts, noise, confidence)
    if bounds is None:
        return Interval(mean, None, None, prompts)
    return Interval(mean, min(bounds[0], mean), max(bounds[1], mean), prompts)
