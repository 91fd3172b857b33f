"""Horizontal bars: intervals of the tables, shares of variance, importance with its null band."""

from collections.abc import Sequence
from dataclasses import dataclass

from teststrip.evidence.charts.scale import Mark, Scale, bounds, padded
from teststrip.evidence.importance import Term
from teststrip.evidence.interval import Interval
from teststrip.evidence.ranking import Ranked, Ranking
from teststrip.evidence.variance import Variance

SHADES = {
    "recipe": "accent",
    "recipe x prompt": "dark",
    "recipe x prompt and residual": "dark",
    "prompt": "light",
    "prompt and seed": "light",
    "seed": "middle",
    "residual": "paper",
}


@dataclass(frozen=True)
class Bar:
    """A bar from 0 to `end` px, its interval, and the null band's end (None: no band)."""

    end: float
    low: float
    high: float
    band: float | None
    kind: str


@dataclass(frozen=True)
class Segment:
    """A piece of the strip that all shares make together; `label` where it is wide enough."""

    start: float
    width: float
    shade: str
    label: str


def interval_bar(gain: Interval, scale: Scale, kind: str = "") -> Mark | None:
    """A gain as a dot with its interval on a common scale; None where there is none."""
    if not gain.units:
        return None
    low, high = bounds(gain)
    return Mark(x=scale(gain.mean), y=0, low=scale(low), high=scale(high), kind=kind)


def gain_scale(ranking: Ranking, start: float, end: float) -> Scale:
    """The common scale of the table's bars: the intervals of those that went far.

    A recipe that was stopped after 4 images may have an interval ten times as wide; held at the
    edge it says that, and the rest stays readable.
    """
    return scale_of([r.gain for r in ranking.rows if r.level <= 1], start, end)


def scale_of(values: Sequence[Interval], start: float, end: float) -> Scale:
    """A scale that holds 0 and all of these intervals."""
    known = [0.0]
    for value in values:
        if value.units:
            known += bounds(value)
    return Scale(*padded(min(known), max(known), 0.06), start, end)


def row_kind(row: Ranked) -> str:
    """`better`, `worse`, ...: the verdict's first word, a class of the style sheet."""
    return row.verdict.split()[0]


def strip(variance: Variance, width: float) -> tuple[Segment, ...]:
    """The shares end to end, as one strip from light to dark."""
    known = [s for s in variance.shares if s.share > 0]
    total = sum(s.share for s in known) or 1.0
    found, at = [], 0.0
    for share in known:
        wide = width * share.share / total
        found.append(
            Segment(
                start=round(at, 1),
                width=round(wide, 1),
                shade=shade_of(share.source),
                label=f"{100 * share.share / total:.0f} %" if wide >= 44 else "",
            )
        )
        at += wide
    return tuple(found)


def shade_of(source: str) -> str:
    """The shade of a source of variance, the same wherever it is drawn."""
    return SHADES.get(source, "middle")


def share_bars(variance: Variance, width: float) -> tuple[Bar, ...]:
    """One bar for each source, all on one scale."""
    ends = [s.share for s in variance.shares] + [s.high or 0.0 for s in variance.shares]
    scale = Scale(0.0, max([*ends, 0.1]), 0.0, width - 4)
    return tuple(
        Bar(
            end=scale(s.share),
            low=scale(s.share if s.low is None else s.low),
            high=scale(s.share if s.high is None else s.high),
            band=None,
            kind=shade_of(s.source),
        )
        for s in variance.shares
    )


def importance_bars(terms: Sequence[Term], width: float, ceiling: float = 0.1) -> tuple[Bar, ...]:
    """One bar for each term with its null band; `ceiling`: the least right end of the scale."""
    ends = [max(t.share.mean, bounds(t.share)[1], t.band) for t in terms]
    scale = Scale(0.0, max([*ends, ceiling]), 0.0, width - 4)
    return tuple(
        Bar(
            end=scale(term.share.mean),
            low=scale(bounds(term.share)[0]),
            high=scale(bounds(term.share)[1]),
            band=scale(term.band),
            kind="shown" if term.shown else "unclear",
        )
        for term in terms
    )
