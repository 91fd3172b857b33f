"""Parameters as columns: levels of a choice, polynomials of a number, products for a pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from teststrip.evidence.grid import Floats
from teststrip.evidence.searched import is_number, show_key

MOST_LEVELS = 6  # up to here each value of a number has its own level
CUBIC = 3
LOG_FROM = 10.0  # a range of this ratio may have been searched on a log scale
LEAST_LEFT = 4  # degrees of freedom for the noise, at least
SMALL = 1e-7


@dataclass(frozen=True)
class Basis:
    """One parameter. `columns` [R, df]: orthonormal, of mean 0; a number's by rising degree.

    `is_curve`: they do not tell every value from every other.
    """

    field: str
    columns: Floats
    is_numeric: bool
    is_curve: bool

    @property
    def df(self) -> int:
        """Degrees of freedom."""
        return self.columns.shape[1]


def basis(field: str, cells: Sequence[Any], most: int | None = None) -> Basis:
    """The columns of one parameter.

    Words, and numbers of few values: a level each. Other numbers: linear, quadratic and cubic
    (on a log scale where they were searched on one), at most `most` of them. Numbers among
    which some recipes have none ("no guidance"): a level for these, a curve for the rest.
    """
    numbers = np.array([float(c) if is_number(c) else np.nan for c in cells])
    known = np.isfinite(numbers)
    distinct = np.unique(numbers[known])
    top = CUBIC if len(distinct) > MOST_LEVELS else len(distinct) - 1
    degree = top if most is None else min(top, most)
    if known.all():
        curve = _powers(np.log(numbers) if _is_log(distinct) else numbers, degree)
        return Basis(field, orthonormal(curve), True, degree < len(distinct) - 1)
    words = [show_key(c) for c in cells]
    if len(distinct) > MOST_LEVELS:
        words = ["a number" if k else w for k, w in zip(known, words, strict=True)]
        curve = np.zeros((len(cells), degree))
        curve[known] = _powers(numbers[known], degree)
        return Basis(field, orthonormal(np.hstack([_levels(words), curve])), False, True)
    return Basis(field, orthonormal(_levels(words)), False, False)


def bases(cells: Mapping[str, Sequence[Any]], recipes: int) -> tuple[list[Basis], int | None]:
    """All parameters, and the highest degree of a curve where there are too few recipes for more.

    Half of the recipes' degrees of freedom are kept for the noise where that can be had.
    """
    found = [basis(field, values) for field, values in cells.items()]
    for most in (2, 1):
        if sum(b.df for b in found) <= (recipes - 1) / 2:
            return found, None if most == 2 else 2
        found = [basis(field, values, most) for field, values in cells.items()]
    return found, 1


def alike(found: Sequence[Basis]) -> list[tuple[str, str]]:
    """Pairs of parameters that always change together: no data can tell them apart."""
    same = []
    for a, b in combinations(found, 2):
        if a.df == b.df and ((a.columns.T @ b.columns) ** 2).sum() > a.df - 1e-6:
            same.append((a.field, b.field))
    return same


def product(a: Basis, b: Basis, most: int) -> Floats | None:
    """Orthonormal columns [R, df] for the pair of two parameters, at most `most`; else None.

    Choices are crossed in full, and so are numbers of two or three values. Of others, products of
    degree up to 3 (linear x linear, linear x quadratic, quadratic x linear); where that is too
    much, linear x linear.
    """
    few = not (a.is_curve or b.is_curve) and max(a.df, b.df) <= 2
    for degree in (4, CUBIC, 2) if few else (CUBIC, 2):
        pairs = [
            (i, j)
            for i in range(a.df)
            for j in range(b.df)
            if _degree(a, i) + _degree(b, j) <= degree
        ]
        if len(pairs) <= most:
            crossed = [a.columns[:, i] * b.columns[:, j] for i, j in pairs]
            return orthonormal(np.column_stack(crossed))
    return None


def orthonormal(columns: Floats) -> Floats:
    """An orthonormal basis of the columns less their means, in their order, without repeats."""
    centred = columns - columns.mean(axis=0)
    scale = np.linalg.norm(centred, axis=0)
    centred = centred[:, scale > SMALL] / scale[scale > SMALL]
    q, r = np.linalg.qr(centred)
    kept = np.abs(np.diag(r)) > SMALL
    if not kept.all():
        return orthonormal(centred[:, kept])
    return np.asarray(q)


def _is_log(distinct: Floats) -> bool:
    """Wide, and spread more evenly on a log scale (0.01 to 1 drawn evenly is as wide)."""
    if distinct[0] <= 0 or distinct[-1] < LOG_FROM * distinct[0]:
        return False
    even = np.linspace(0, 1, len(distinct))

    def off(z: Floats) -> float:
        return float(np.abs((z - z[0]) / (z[-1] - z[0]) - even).max())

    return off(np.log(distinct)) < off(distinct)


def _degree(one: Basis, column: int) -> int:
    """A level of a choice counts as linear: it is never left out."""
    return column + 1 if one.is_numeric else 1


def _powers(x: Floats, degree: int) -> Floats:
    middle, half = (x.max() + x.min()) / 2, max((x.max() - x.min()) / 2, SMALL)
    z = (x - middle) / half
    return np.column_stack([z**k for k in range(1, degree + 1)])


def _levels(words: Sequence[str]) -> Floats:
    names = sorted(set(words))[1:]
    return np.array([[float(w == n) for n in names] for w in words])
