"""Which parameters matter: shares of the variance between recipes, against a null band.

Only from a space-filling design (Sobol, random, grid, factorial) and there only from the blocks
that every recipe was shown. A sampler's history is refused: where it crowds, whatever it crowded
around looks important (41 % of "importance" went to parameters that do nothing).

A recipe's response is its mean advantage over prompts. Each parameter is tested after all the
others (type II analysis of variance), pairs after all parameters; p values are by permutation of
recipes, in a full grid of prompts (`crossed`), Holm-corrected over parameters and over pairs.
Intervals are by prompt, for these recipes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from teststrip.evidence import anova, confounding, permutation
from teststrip.evidence.anova import Piece
from teststrip.evidence.crossed import Crossed, full_grid, judge, too_few_prompts
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid
from teststrip.evidence.interval import Interval, holm
from teststrip.evidence.numbers import count, percent
from teststrip.evidence.searched import DUMMY, Searched, searched
from teststrip.evidence.terms import LEAST_LEFT, Basis, alike, bases, product

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
FEW_PROMPTS = 8
SAME = 0.95
Fields = tuple[str, ...]


@dataclass(frozen=True)
class Term:
    """One parameter, or a pair of them.

    `fields`: one name or two. `share`: of the variance between recipes' means, noise taken off,
    0 to 1, with its interval by prompt. `band`: the share that a parameter of this shape
    which does nothing reaches by chance (95 %, corrected for all terms of its kind). `p`: by
    permutation, Holm-corrected. `shown`: above the band.
    """

    fields: tuple[str, ...]
    share: Interval
    band: float
    p: float
    shown: bool

    @property
    def is_dummy(self) -> bool:
        """It does nothing, by construction."""
        return self.fields[0].startswith(DUMMY)

    @property
    def name(self) -> str:
        """`guidance` or `guidance x steps`."""
        return " x ".join(self.fields)


@dataclass(frozen=True)
class Importance:
    """Main effects and pair interactions, the largest share first; or why there are none.

    `refused`: empty, or one or two sentences: why, and how to get a screening design.
    `unexplained`: share of the variance between recipes that no term explains (noise included).
    `notes`: what limits it (few prompts, few recipes, interactions left out).
    """

    mains: tuple[Term, ...]
    pairs: tuple[Term, ...]
    recipes: int
    blocks: int
    prompts: int
    unexplained: float | None
    refused: str
    notes: tuple[str, ...]


def importance(table: "pd.DataFrame", facts: StudyFacts, grid: Grid) -> Importance:
    """Shares, bands and verdicts of every varied parameter and of every pair; or a refusal.

    `table` as `evidence.table.checked` returns it, `grid` its grid.
    """
    part = searched(table, facts, grid)
    if refused := confounding.refusal(part, facts):
        return _nothing(part, refused)
    # shares have no unit, and squares of scores near 1e200 would overflow
    part = replace(part, lead=part.lead / np.abs(part.lead).max())
    if (full := full_grid(part)) is not None:
        return _of_grid(full, part, facts)
    found, degree = bases(part.cells, part.recipes)
    twins = alike(found)
    found = [b for b in found if b.field not in {second for _, second in twins}]
    if refused := confounding.too_few(found, part, facts):
        return _nothing(part, refused)
    pieces = anova.pieces([b.columns for b in found])
    parts = dict(zip((b.field for b in found), pieces, strict=True))
    refused, judged = confounding.judged(part, parts, facts)
    if refused:
        return _nothing(part, refused)
    hidden = [field for field, one in parts.items() if not one.df]
    found = [b for b in found if b.field not in hidden]
    if not found:
        return _nothing(part, "No setting can be told from the others: they changed together.")
    crossed, left_out = _products(found, part.recipes)
    pairs, shown = _judge_pairs(found, crossed, part, facts)
    mains = _judge_mains(found, shown, part, facts)
    notes = (
        judged,
        *_dummies(mains),
        *confounding.ties({f: one for f, one in parts.items() if one.df}),
        *(f"{b} always changed together with {a}: one effect, named {a}." for a, b in twins),
        *(f"{field} cannot be told from the other settings here." for field in hidden),
        *_limits(part, degree, left_out),
        *_aliases(shown, crossed),
    )
    return Importance(
        mains=mains,
        pairs=pairs,
        recipes=part.recipes,
        blocks=part.blocks,
        prompts=part.prompts,
        unexplained=_unexplained([b.columns for b in found], list(shown.values()), part),
        refused="",
        notes=tuple(note for note in notes if note),
    )


def _of_grid(full: Crossed, part: Searched, facts: StudyFacts) -> Importance:
    """Settings and pairs by prompt; dummies, which are no axes of the grid, by recipe."""
    kinds = [
        _sorted(
            [
                Term(one.fields, one.share, one.band, one.p, _is_shown(one.p, one.share, one.band))
                for one in judge(full, size, ALPHA, facts.confidence)
            ]
        )
        for size in (1, 2)
    ]
    found, _ = bases(part.cells, part.recipes)
    dummies: tuple[Term, ...] = ()
    if not confounding.too_few(found, part, facts):
        tested = _judge_mains(found, {}, part, facts)
        dummies = tuple(term for term in tested if term.is_dummy)
    known = sum(t.share.mean for t in (*kinds[0], *(t for t in kinds[1] if t.shown)))
    few = too_few_prompts(full, ALPHA)
    return Importance(
        mains=_sorted([*kinds[0], *dummies]),
        pairs=kinds[1],
        recipes=part.recipes,
        blocks=part.blocks,
        prompts=part.prompts,
        unexplained=float(np.clip(1 - known, 0.0, 1.0)),
        refused="",
        notes=(
            *(() if facts.design else (confounding.FULL_GRID,)),
            *_dummies(dummies),
            *_limits(part, None, ()),
            *(
                f"{count(part.lead.shape[1], 'prompt')} cannot show an effect of {field}."
                for field in few
                if part.prompts > 1
            ),
        ),
    )


def _is_shown(p: float, share: Interval, band: float) -> bool:
    return bool(p <= ALPHA and share.mean > band)


def _products(found: Sequence[Basis], recipes: int) -> tuple[dict[Fields, Floats], list[str]]:
    """Columns for each pair of parameters (dummies aside); names of the pairs left out."""
    used = sum(b.df for b in found)
    kept: dict[Fields, Floats] = {}
    left_out = []
    for a, b in combinations([b for b in found if not b.field.startswith(DUMMY)], 2):
        columns = product(a, b, (recipes - 1 - used) // 4)
        if columns is None:
            left_out.append(f"{a.field} x {b.field}")
        else:
            kept[a.field, b.field] = columns
    return kept, left_out


def _judge_pairs(
    found: Sequence[Basis], crossed: Mapping[Fields, Floats], part: Searched, facts: StudyFacts
) -> tuple[tuple[Term, ...], dict[Fields, Floats]]:
    """Pairs after all parameters and after the pairs already shown, the clearest first.

    In Sobol and fractional designs pairs overlap with each other: a strong one would show others
    as well (Holm's steps are kept; each step tests what the pairs before it leave).
    """
    response, recipes = part.lead.mean(axis=1), part.recipes
    terms: list[Term] = []
    shown: dict[Fields, Floats] = {}
    waiting, floor = dict(crossed), 0.0
    while waiting:
        rest = anova.span([*(b.columns for b in found), *shown.values()], recipes)
        open_ = {f: anova.piece(columns, rest) for f, columns in waiting.items()}
        open_ = {f: one for f, one in open_.items() if one.df and one.noise_df >= LEAST_LEFT}
        if not open_:
            break
        null = permutation.null(list(open_.values()), response, are_pairs=True)
        p = dict(
            zip(open_, permutation.p_values(list(open_.values()), response, null), strict=True)
        )
        first = min(p, key=lambda f: (p[f], -float(anova.share(open_[f], response))))
        level = ALPHA / len(open_)
        if p[first] > level:
            p_holm = np.maximum(holm(np.array(list(p.values()))), floor)
            terms += [
                _term(f, one, part, facts, p=float(p_holm[k]), null=null[k], level=level)
                for k, (f, one) in enumerate(open_.items())
            ]
            break
        k = list(open_).index(first)
        floor = max(floor, min(p[first] * len(open_), 1.0))
        terms.append(_term(first, open_[first], part, facts, p=floor, null=null[k], level=level))
        shown[first] = waiting.pop(first)
    return _sorted(terms), shown


def _judge_mains(
    found: Sequence[Basis], shown: Mapping[Fields, Floats], part: Searched, facts: StudyFacts
) -> tuple[Term, ...]:
    """Each parameter after all others, and after the shown pairs that it has no part in."""
    response, recipes = part.lead.mean(axis=1), part.recipes
    every = anova.span([b.columns for b in found], recipes)
    pieces = []
    for basis in found:
        others = [b.columns for b in found if b is not basis]
        others += [c for fields, c in shown.items() if basis.field not in fields]
        # what a pair of its own adds to it is no noise, and must not be taken from it either
        own = [anova.piece(c, every).own for fields, c in shown.items() if basis.field in fields]
        pieces.append(anova.piece(basis.columns, anova.span([*others, *own], recipes)))
    null = permutation.null(pieces, response)
    p = permutation.p_values(pieces, response, null)
    p_holm, levels = holm(p), permutation.holm_levels(p, ALPHA)
    return _sorted(
        [
            _term(
                (b.field,),
                pieces[k],
                part,
                facts,
                p=float(p_holm[k]),
                null=null[k],
                level=levels[k],
            )
            for k, b in enumerate(found)
        ]
    )


def _term(
    fields: Fields,
    one: Piece,
    part: Searched,
    facts: StudyFacts,
    *,
    p: float,
    null: Floats,
    level: float,
) -> Term:
    """`null` [n]: its partial R squared under permutation; `level`: what its p is held against."""
    response = part.lead.mean(axis=1)
    edge = permutation.edge(null, level)
    share = _share(one, part, facts.confidence)
    band = float(np.clip(anova.share_of_ratio(one, response, edge), 0.0, 1.0))
    return Term(
        fields=fields,
        share=share,
        band=band,
        p=p,
        shown=_is_shown(p, share, band),
    )


def _sorted(terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(sorted(terms, key=lambda t: (-t.share.mean, t.p, t.fields)))


def _share(one: Piece, part: Searched, confidence: float) -> Interval:
    mean = float(np.clip(anova.share(one, part.lead.mean(axis=1)), 0.0, 1.0))
    bounds = anova.share_interval(one, part.lead, confidence)
    units = part.lead.shape[1]
    if bounds is None:
        return Interval(mean, None, None, units)
    return Interval(mean, min(bounds[0], mean), max(bounds[1], mean), units)


def _unexplained(mains: Sequence[Floats], shown: Sequence[Floats], part: Searched) -> float:
    """One less the adjusted R squared of all parameters and the pairs that are shown."""
    response = part.lead.mean(axis=1)
    whole = anova.span([*mains, *shown], part.recipes)
    left = max(float((response**2).sum() - ((response @ whole) ** 2).sum()), 0.0)
    freedom = max(part.recipes - 1 - whole.shape[1], 1)
    return min(left / freedom * (part.recipes - 1) / float((response**2).sum()), 1.0)


def _dummies(mains: Sequence[Term]) -> tuple[str, ...]:
    dummies = [term for term in mains if term.is_dummy]
    if not dummies:
        return ()
    loud = [term.name for term in dummies if term.shown]
    seen = ", ".join(f"{t.name} {percent(t.share.mean)} (band {percent(t.band)})" for t in dummies)
    if loud:
        return (
            f"Do not trust this ranking: {', '.join(loud)} does nothing by construction and yet "
            f"stands out of its null band. What does nothing reached: {seen}.",
        )
    return (f"Parameters that do nothing reached: {seen}.",)


def _limits(part: Searched, degree: int | None, left_out: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if part.prompts == 1:
        notes.append(
            "There is one prompt: intervals are over its seeds, and nothing is said of other "
            "prompts."
        )
    elif part.prompts < FEW_PROMPTS:
        notes.append(
            f"{count(part.prompts, 'prompt')} only: shares may differ much on other prompts."
        )
    if degree is not None:
        shape = "straight lines" if degree == 1 else "lines and parabolas"
        notes.append(f"{part.recipes} recipes are few: curves of numbers are {shape} here.")
    if left_out:
        names = ", ".join(left_out[:6]) + (", ..." if len(left_out) > 6 else "")
        notes.append(f"Too few recipes for {count(len(left_out), 'pair')}: {names}.")
    return tuple(notes)


def _aliases(shown: Mapping[Fields, Floats], crossed: Mapping[Fields, Floats]) -> tuple[str, ...]:
    """Shown pairs that this design cannot tell from another pair."""
    notes = []
    for fields, columns in shown.items():
        others = [
            " x ".join(other)
            for other, those in crossed.items()
            if other != fields and np.linalg.norm(columns.T @ those, ord=2) > SAME
        ]
        if others:
            notes.append(
                f"{' x '.join(fields)} may also be {' or '.join(others)}: "
                "this design cannot tell them apart."
            )
    return tuple(notes)


def _nothing(part: Searched, refused: str) -> Importance:
    return Importance(
        mains=(),
        pairs=(),
        recipes=part.recipes,
        blocks=part.blocks,
        prompts=part.prompts,
        unexplained=None,
        refused=refused,
        notes=(),
    )
