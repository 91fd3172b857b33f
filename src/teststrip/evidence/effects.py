"""What each parameter does: its values' mean advantage on the blocks that every recipe was shown.

A score less its block's mean over the recipes is free of prompt and seed. Only the first rung is
used: later rungs hold the winners of earlier ones, which would bend every curve. Intervals are
by prompt, for the recipes of this study: a parameter that was varied together with another
(random designs) shares its effect. The words of a curve have the other parameters' effects taken
off, and are silent where importance shows no effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import ConfigError
from teststrip.evidence import anova, confounding, shape
from teststrip.evidence.crossed import full_grid
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid, build
from teststrip.evidence.importance import Importance
from teststrip.evidence.interval import Interval, interval
from teststrip.evidence.levels import Group, Levels, levels_of
from teststrip.evidence.numbers import show
from teststrip.evidence.searched import Searched, searched
from teststrip.evidence.terms import Basis, bases, product

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "no evidence of effect"
NOT_JUDGED = "not judged"
PER_LINE = 16  # recipes for each line of an interaction, about


@dataclass(frozen=True)
class Level:
    """One value of a parameter (or the middle of a bin of values): its advantage, positive good.

    `ends`: the least and the largest value of a bin; None for a single value.
    """

    value: Any
    label: str
    gain: Interval
    recipes: int
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Effect:
    """One parameter. `numeric`: the levels lie on an axis. `binned`: levels are groups of values.

    `blocks` images per recipe over `prompts` prompts were used, of `recipes` recipes. `words`: the
    shape of the curve as far as levels can be told apart ("rises to 6, flat to 9, then falls");
    "rises" means better, whichever way the score counts. `best_range`: labels of the levels that
    cannot be told from the best one, empty where there is no evidence of an effect.
    """

    field: str
    numeric: bool
    binned: bool
    levels: tuple[Level, ...]
    blocks: int
    prompts: int
    recipes: int
    words: str = NOT_JUDGED
    best_range: tuple[str, ...] = ()

    @property
    def span(self) -> float:
        """Best level less worst level, in units of the score."""
        means = [level.gain.mean for level in self.levels]
        return max(means) - min(means)


@dataclass(frozen=True)
class Interaction:
    """Two parameters together: the advantage in each cell of their levels.

    `gain` and `recipes`: [level of the first][level of the second]; `gain` is None for a cell
    without recipes. `values`: of the first's levels, numbers where `numeric`. `groups`: the levels
    themselves. Intervals are by prompt, for the recipes of this study.
    """

    fields: tuple[str, str]
    values: tuple[Any, ...]
    labels: tuple[tuple[str, ...], tuple[str, ...]]
    numeric: bool
    gain: tuple[tuple[Interval | None, ...], ...]
    recipes: tuple[tuple[int, ...], ...]
    blocks: int
    prompts: int
    groups: tuple[tuple[Group, ...], ...] = ()


def effects(
    table: "pd.DataFrame",
    facts: StudyFacts,
    grid: Grid | None = None,
    importance: Importance | None = None,
) -> tuple[Effect, ...]:
    """The effect of every varied parameter, the largest span first.

    `importance` decides of which parameters words are made; without it each is judged by its own
    levels, corrected for the number of parameters.
    """
    part = searched(table, facts, build(table, facts) if grid is None else grid)
    if part.recipes < 2 or not part.blocks:
        return ()
    words = _Words(part, facts, importance)
    found = []
    for field, cells in part.cells.items():
        levels = levels_of(cells)
        if len(levels.groups) < 2:
            continue
        text, best = words.of(field, levels)
        found.append(
            Effect(
                field=field,
                numeric=levels.numeric,
                binned=levels.binned,
                levels=tuple(
                    Level(g.value, g.label, _gain(part, g.members, facts), len(g.members), g.ends)
                    for g in levels.groups
                ),
                blocks=part.blocks,
                prompts=part.prompts,
                recipes=part.recipes,
                words=text,
                best_range=best,
            )
        )
    return tuple(sorted(found, key=lambda effect: -effect.span))


def interaction(
    table: "pd.DataFrame", facts: StudyFacts, fields: tuple[str, str], grid: Grid | None = None
) -> Interaction:
    """The cells of two parameters, to be drawn as a line for each level of the second.

    Raises ConfigError where one of them does not vary.
    """
    part = searched(table, facts, build(table, facts) if grid is None else grid)
    if missing := [field for field in fields if field not in part.cells]:
        raise ConfigError(
            f"interaction: {', '.join(missing)} does not vary in study {facts.name!r}; "
            f"these do: {', '.join(part.cells) or 'none'}"
        )
    lines = max(2, min(4, part.recipes // PER_LINE))
    first = levels_of(part.cells[fields[0]], bins=4)
    second = levels_of(part.cells[fields[1]], points=4, bins=lines)
    cells = [[sorted(set(a.members) & set(b.members)) for b in second.groups] for a in first.groups]
    return Interaction(
        fields=fields,
        values=tuple(g.value for g in first.groups),
        labels=(tuple(g.label for g in first.groups), tuple(g.label for g in second.groups)),
        numeric=first.numeric,
        gain=tuple(tuple(_gain(part, c, facts) if c else None for c in row) for row in cells),
        recipes=tuple(tuple(len(c) for c in row) for row in cells),
        groups=(first.groups, second.groups),
        blocks=part.blocks,
        prompts=part.prompts,
    )


def _gain(part: Searched, members: Sequence[int], facts: StudyFacts) -> Interval:
    return interval(part.lead[list(members)].mean(axis=0), facts.confidence)


class _Words:
    """Puts curves into words: the additive model is fitted once for all parameters."""

    def __init__(self, part: Searched, facts: StudyFacts, importance: Importance | None) -> None:
        self._part, self._verdict = part, importance
        self._silent = bool(confounding.refusal(part, facts) or (importance and importance.refused))
        self._full = full_grid(part) is not None
        self._bases: list[Basis] = []
        if self._silent or self._full:
            return
        self._bases = bases(part.cells, part.recipes)[0]
        self._freedom = part.recipes - 1 - sum(b.df for b in self._bases)
        self._silent = bool(confounding.too_few(self._bases, part, facts))
        if self._silent:
            return
        self._columns = np.hstack([b.columns for b in self._bases] + self._shown_pairs())
        self._weights = np.linalg.lstsq(self._columns, part.lead, rcond=None)[0]  # [df, U]
        left = (part.lead - self._columns @ self._weights).mean(axis=1)
        self._freedom = part.recipes - 1 - anova.span([self._columns], part.recipes).shape[1]
        self._noise = float((left**2).sum()) / max(self._freedom, 1)

    def of(self, field: str, levels: Levels) -> tuple[str, tuple[str, ...]]:
        """(words, labels of the best levels)."""
        if self._silent:
            return NOT_JUDGED, ()
        names, shown, partners = self._judged(field)
        if field not in names:
            return "changed together with another setting: not judged", ()
        depends = f"depends on {' and '.join(partners)}" if partners else ""
        if not shown:
            return (f"{NOTHING} on average, but it {depends}" if depends else NOTHING), ()
        groups = [g.members for g in levels.groups]
        family = 1 if self._verdict else len(names)
        if self._full:  # nothing to take off, and no chance between recipes
            adjusted = self._part.lead
            differs = shape.differences(adjusted, groups, 0.0, 1, family)
        else:
            adjusted = self._adjusted(field)
            differs = shape.differences(adjusted, groups, self._noise, self._freedom, family)
        means = np.array([adjusted[list(g)].mean() for g in groups])
        labels = [g.label for g in levels.groups]
        if not levels.numeric:
            text = shape.of_choices(labels, means, differs)
        else:
            middles = [f"about {show(float(f'{g.value:.2g}'))}" for g in levels.groups]
            text = shape.of_numbers(middles if levels.binned else labels, means, differs)
        if text == shape.UNSHAPED and self._verdict is None:
            return NOTHING, ()
        return f"{text}; {depends}" if depends else text, shape.best(labels, means, differs)

    def _judged(self, field: str) -> tuple[list[str], bool, list[str]]:
        """Fields that were judged; is this one shown; with which others does it interact."""
        if self._verdict is None:
            return list(self._part.cells), True, []
        mains = {term.fields[0]: term.shown for term in self._verdict.mains}
        pairs = [t.fields for t in self._verdict.pairs if t.shown and field in t.fields]
        return list(mains), mains.get(field, False), [f for p in pairs for f in p if f != field]

    def _shown_pairs(self) -> list[Floats]:
        """Their columns: what a pair adds to the parameters' own effects is no noise."""
        by_name = {b.field: b for b in self._bases}
        pairs = [t.fields for t in self._verdict.pairs if t.shown] if self._verdict else []
        crossed = [product(by_name[a], by_name[b], self._freedom // 4) for a, b in pairs]
        return [columns for columns in crossed if columns is not None]

    def _adjusted(self, field: str) -> Floats:
        """[R, U]: advantages less what the other parameters and the shown pairs explain."""
        ends = np.cumsum([b.df for b in self._bases])
        own = next(k for k, b in enumerate(self._bases) if b.field == field)
        others = np.ones(len(self._weights), dtype=bool)
        others[ends[own] - self._bases[own].df : ends[own]] = False
        taken: Floats = self._part.lead - self._columns[:, others] @ self._weights[others]
        return taken
