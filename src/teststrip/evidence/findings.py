"""What the report's drawings and tables show, gathered from the analysis and held within bounds.

Every list has a most: a study of 10,000 recipes has a page that opens like one of ten.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.evidence import numbers
from teststrip.evidence.charts import bars
from teststrip.evidence.charts.curves import effect_charts, interaction_chart
from teststrip.evidence.charts.front import far_below, front_chart
from teststrip.evidence.charts.scale import Chart, Mark
from teststrip.evidence.compare import Comparison
from teststrip.evidence.effects import interaction
from teststrip.evidence.importance import Term
from teststrip.evidence.interval import Interval
from teststrip.evidence.kinds import Kind
from teststrip.evidence.pareto import Point
from teststrip.evidence.people import Strength
from teststrip.evidence.ranking import Ranked
from teststrip.evidence.variance import Share

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

FIRST_ROWS, MOST_ROWS = 12, 400
MOST_TERMS, MOST_CURVES, MOST_POINTS, MOST_PEOPLE, MOST_KINDS = 16, 16, 24, 24, 12
BAR_WIDTH, SHARE_WIDTH, STRIP_WIDTH = 160, 300, 1056


@dataclass(frozen=True)
class Shares:
    """Shares of variance: the strip and a bar for each source."""

    strip: tuple[bars.Segment, ...]
    rows: tuple[tuple[Share, bars.Bar], ...]
    strip_width: int = STRIP_WIDTH
    width: int = SHARE_WIDTH


@dataclass(frozen=True)
class Terms:
    """Parameters, and the pairs of them that show an effect; how many more are not shown."""

    mains: tuple[tuple[Term, bars.Bar], ...]
    pairs: tuple[tuple[Term, bars.Bar], ...]
    more_mains: int
    silent_pairs: int
    width: int = SHARE_WIDTH


@dataclass(frozen=True)
class Time:
    """The drawing of quality against time, and a row for each recipe on the front."""

    chart: Chart
    rows: tuple[Point, ...]
    far_below: int


@dataclass(frozen=True)
class Line:
    """A row of the ranking table: its place, the recipe, its bar and its role."""

    place: int
    row: Ranked
    bar: Mark | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The ranking: rows to see at once, rows to unfold, how many are left out."""

    first: tuple[Line, ...]
    more: tuple[Line, ...]
    hidden: int
    zero: float
    width: int = BAR_WIDTH


@dataclass(frozen=True)
class Bars:
    """Rows with an interval each, on one scale."""

    rows: tuple[tuple[Comparison | Strength | Kind, Mark | None], ...]
    more: int
    zero: float
    width: int = BAR_WIDTH


def shares(analysis: "Analysis") -> Shares | None:
    """None where the design cannot tell any share."""
    variance = analysis.variance
    if variance is None or not variance.shares:
        return None
    rows = zip(variance.shares, bars.share_bars(variance, SHARE_WIDTH), strict=True)
    return Shares(strip=bars.strip(variance, STRIP_WIDTH), rows=tuple(rows))


def importance(analysis: "Analysis") -> Terms | None:
    """None where it is refused."""
    found = analysis.importance
    if found.refused or not found.mains:
        return None
    mains, shown = found.mains[:MOST_TERMS], [t for t in found.pairs if t.shown][:MOST_TERMS]
    drawn = bars.importance_bars([*mains, *shown], SHARE_WIDTH)
    return Terms(
        mains=tuple(zip(mains, drawn[: len(mains)], strict=True)),
        pairs=tuple(zip(shown, drawn[len(mains) :], strict=True)),
        more_mains=len(found.mains) - len(mains),
        silent_pairs=len(found.pairs) - sum(t.shown for t in found.pairs),
    )


def curves(analysis: "Analysis") -> tuple[Chart, ...]:
    """One drawing for each parameter."""
    return effect_charts(analysis.effects[:MOST_CURVES], analysis.ranking.numbers)


def together(analysis: "Analysis") -> Chart | None:
    """The strongest pair of parameters that act together; None where none does."""
    term = next((t for t in analysis.importance.pairs if t.shown), None)
    varied = {e.field: e.numeric for e in analysis.effects}
    if term is None or any(field not in varied for field in term.fields):
        return None
    first, second = sorted(term.fields, key=lambda field: not varied[field])  # numbers on the axis
    found = interaction(analysis.table, analysis.facts, (first, second), analysis.grid)
    return interaction_chart(found, analysis.ranking.numbers)


def front(analysis: "Analysis") -> Time | None:
    """None where fewer than two recipes have a gain and a cost."""
    chart = front_chart(analysis.front, analysis.ranking, analysis.ranking.numbers)
    if chart is None:
        return None
    rows = tuple(p for p in analysis.front.points if p.on_front)[:MOST_POINTS]
    return Time(chart=chart, rows=rows, far_below=far_below(chart))


def kinds(analysis: "Analysis") -> Bars:
    """The leader's gain by kind of prompt."""
    rows = analysis.kinds[:MOST_KINDS]
    scale = bars.scale_of([kind.gain for kind in rows], 6, BAR_WIDTH - 6)
    return Bars(
        rows=tuple((kind, bars.interval_bar(kind.gain, scale)) for kind in rows),
        more=len(analysis.kinds) - len(rows),
        zero=scale(0.0),
    )


def people(analysis: "Analysis") -> Bars | None:
    """People's ranking, the strongest first."""
    if analysis.people is None or not analysis.people.strengths:
        return None
    rows = analysis.people.strengths[:MOST_PEOPLE]
    scale = bars.scale_of([s.strength for s in rows], 6, BAR_WIDTH - 6)
    return Bars(
        rows=tuple((s, bars.interval_bar(s.strength, scale)) for s in rows),
        more=len(analysis.people.strengths) - len(rows),
        zero=scale(0.0),
    )


def confirmed(analysis: "Analysis") -> Bars | None:
    """The leaders on held-out images."""
    if analysis.confirmed is None:
        return None
    rows = analysis.confirmed.rows[:MOST_PEOPLE]
    scale = bars.scale_of([row.gain for row in rows], 6, BAR_WIDTH - 6)
    return Bars(
        rows=tuple((r, bars.interval_bar(r.gain, scale, r.verdict.split()[0])) for r in rows),
        more=len(analysis.confirmed.rows) - len(rows),
        zero=scale(0.0),
    )


def ranking_table(analysis: "Analysis") -> Table:
    """All recipes, as far as a page can hold them."""
    ranking = analysis.ranking
    scale = bars.gain_scale(ranking, 6, BAR_WIDTH - 6)
    roles = {"best": ranking.best, "median": ranking.median, "worst": ranking.worst}
    lines = tuple(
        Line(
            place=place,
            row=row,
            bar=bars.interval_bar(row.gain, scale, bars.row_kind(row)),
            roles=tuple(role for role, name in roles.items() if name == row.recipe_id),
        )
        for place, row in enumerate(ranking.rows[:MOST_ROWS], 1)
    )
    return Table(
        first=lines[:FIRST_ROWS],
        more=lines[FIRST_ROWS:],
        hidden=len(ranking.rows) - len(lines),
        zero=scale(0.0),
    )


def p_stopped(analysis: "Analysis") -> float | None:
    """Probability that the best recipe is one that the race stopped; None where not known."""
    ranking = analysis.ranking
    far = [r.recipe_id for r in ranking.rows if not r.stopped and r.gain.units]
    standings = [analysis.standings.get(name) for name in far]
    known = [s.p_best for s in standings if s is not None and s.p_best is not None]
    if len(known) < len(far) or len(far) == len(ranking.rows):
        return None
    return min(max(1.0 - sum(known), 0.0), 1.0)


def correlation(value: Interval) -> str:
    """`0.62 (0.41 to 0.77)`; an en dash for none."""
    if not value.units:
        return "–"
    span = "" if value.low is None else f" ({value.low:.2f} to {value.high:.2f})"
    return f"{value.mean:.2f}{span}".replace("-", numbers.MINUS)


def share_span(value: Interval) -> str:
    """`21 to 52 %`; empty where there is no interval."""
    if value.low is None or value.high is None:
        return ""
    return f"{max(100 * value.low, 0):.0f} to {100 * value.high:.0f} %"
