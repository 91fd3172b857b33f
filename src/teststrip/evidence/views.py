"""What each section of the report shows, gathered from the analysis and held within bounds.

Every list has a most: a study of 10,000 recipes has a page that opens like one of ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError
from teststrip.evidence import gallery, numbers, sheet
from teststrip.evidence.answer import name_of, setting_words
from teststrip.evidence.charts import bars
from teststrip.evidence.charts.curves import effect_charts, interaction_chart
from teststrip.evidence.charts.front import far_below, front_chart
from teststrip.evidence.charts.scale import Chart, Mark
from teststrip.evidence.compare import Comparison
from teststrip.evidence.effects import interaction
from teststrip.evidence.importance import Term
from teststrip.evidence.interval import Interval
from teststrip.evidence.pareto import Point
from teststrip.evidence.people import Strength
from teststrip.evidence.ranking import Ranked
from teststrip.evidence.reproduce import Reproduction, reproduction
from teststrip.evidence.standing import Standing
from teststrip.evidence.summary import full_grid, images_made
from teststrip.evidence.thumbnails import data_uri
from teststrip.evidence.variance import Share
from teststrip.png import read as read_png_facts

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

MOST_CARDS = 6
FIRST_ROWS, MOST_ROWS = 12, 400
MOST_TERMS, MOST_CURVES, MOST_POINTS, MOST_PEOPLE = 16, 16, 24, 24
BAR_WIDTH, SHARE_WIDTH, STRIP_WIDTH = 160, 300, 1056


@dataclass(frozen=True)
class Card:
    """A recipe of the best set: its place, its numbers, its pictures."""

    row: Ranked
    standing: Standing | None
    settings: tuple[str, ...]
    bar: Mark | None
    strip: gallery.Strip


@dataclass(frozen=True)
class Cards:
    """The best set, `more` of it not shown, on one scale whose zero is at `zero` px."""

    shown: tuple[Card, ...]
    more: int
    zero: float
    width: int = BAR_WIDTH


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
class Picture:
    """A cell of the contact sheet: a data URI or why there is none."""

    uri: str
    alt: str
    note: str
    score: float | None
    best: bool


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

    rows: tuple[tuple[Comparison | Strength, Mark | None], ...]
    more: int
    zero: float
    width: int = BAR_WIDTH


def figures(analysis: "Analysis") -> list[tuple[str, str, str]]:
    """(number, what it is, a word more)."""
    table, facts, ranking = analysis.table, analysis.facts, analysis.ranking
    made, full = images_made(analysis), full_grid(analysis)
    held_out = int(((table["split"] != "search") & (table["status"] == "ok")).sum())
    searched = made - held_out
    asked = f"of {full:,} in a full paired grid" if full > searched else ""
    found = [(f"{searched:,}", "images searched", asked)]
    if held_out:
        found.append((f"{held_out:,}", "images to confirm", "chose nothing"))
    if full > searched:
        found.append((numbers.percent(1 - searched / full), "of the images saved", "by racing"))
    found.append((f"{len(ranking.rows):,}", "recipes", f"{ranking.finalists:,} ran to the end"))
    found.append((f"{ranking.prompts:,}", "prompts", "the same seeds for every recipe"))
    if facts.seconds is not None:
        found.append((numbers.duration(facts.seconds), "making images", ""))
    if facts.peak_rss_mb is not None:
        found.append((f"{facts.peak_rss_mb / 1024:.1f} GB", "peak memory", ""))
    return found


def cards(analysis: "Analysis", read_png: sheet.ReadPng) -> Cards:
    """The recipes of the best set, the leader first."""
    ranking = analysis.ranking
    rows = [ranking.row(name) for name in ranking.best_set[:MOST_CARDS]]
    scale = bars.scale_of([row.gain for row in rows], 6, BAR_WIDTH - 6)
    return Cards(
        shown=tuple(
            Card(
                row=row,
                standing=analysis.standings.get(row.recipe_id),
                settings=setting_words(row) or (f"recipe {row.recipe_id}",),
                bar=bars.interval_bar(row.gain, scale, bars.row_kind(row)),
                strip=gallery.strip(analysis, row.recipe_id, read_png),
            )
            for row in rows
        ),
        more=len(ranking.best_set) - len(rows),
        zero=scale(0.0),
    )


def best_wall(analysis: "Analysis", read_png: sheet.ReadPng) -> tuple[gallery.Shot, ...]:
    """All pictures of the leader, where its strip does not show them all."""
    shots = gallery.wall(analysis, analysis.ranking.best, read_png)
    return shots if len(shots) > gallery.TYPICAL + gallery.WORST else ()


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


def contact(
    columns: Sequence[sheet.Column], rows: Sequence[sheet.Row], higher: bool
) -> list[tuple[sheet.Row, list[Picture]]]:
    """The contact sheet's rows with their pictures."""
    return [(row, _pictures(row, columns, rows, higher)) for row in rows]


def _pictures(
    row: sheet.Row, columns: Sequence[sheet.Column], rows: Sequence[sheet.Row], higher: bool
) -> list[Picture]:
    pictures = []
    for j, (cell, column) in enumerate(zip(row.cells, columns, strict=True)):
        uri, note = "", cell.note
        if cell.png is not None:
            try:
                uri = data_uri(cell.png)
            except ConfigError:
                note = "picture cannot be read"
        pictures.append(
            Picture(
                uri=uri,
                alt=f"{column.prompt[:200]}, seed {column.seed}, {row.role.lower()}",
                note=note or "no picture",
                score=cell.score,
                best=cell.score is not None and sheet.is_best(rows, j, cell.score, higher),
            )
        )
    return pictures


def front(analysis: "Analysis") -> Time | None:
    """None where fewer than two recipes have a gain and a cost."""
    chart = front_chart(analysis.front, analysis.ranking, analysis.ranking.numbers)
    if chart is None:
        return None
    rows = tuple(p for p in analysis.front.points if p.on_front)[:MOST_POINTS]
    return Time(chart=chart, rows=rows, far_below=far_below(chart))


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


def again(analysis: "Analysis", rows: Sequence[sheet.Row]) -> tuple[str, Reproduction] | None:
    """(recipe's name, texts to copy) of the confirmed champion, or else of the leader."""
    recipe_id = analysis.ranking.best
    if analysis.confirmed is not None and analysis.confirmed.champion:
        recipe_id = analysis.confirmed.champion
    texts = reproduction(analysis.table, recipe_id, *_size_and_dtype(rows))
    return (f"{name_of(analysis, recipe_id)} (recipe {recipe_id})", texts) if texts else None


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


def tight(text: str, rows: Sequence[Ranked]) -> str:
    """A setting and its value stay on one line, as far as they are short."""
    parts = {part for row in rows[:60] for part in setting_words(row) if len(part) < 28}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(f"{part}", part.replace(" ", "\u00a0"))
    return text


def share_span(value: Interval) -> str:
    """`21 to 52 %`; empty where there is no interval."""
    if value.low is None or value.high is None:
        return ""
    return f"{max(100 * value.low, 0):.0f} to {100 * value.high:.0f} %"


def _size_and_dtype(rows: Sequence[sheet.Row]) -> tuple[tuple[int, int], str | None]:
    """What the best recipe's first picture says of itself; (0, 0) and None where nothing."""
    png = next((cell.png for cell in rows[0].cells if cell.png), None) if rows else None
    try:
        made = read_png_facts(png) if png else None
    except ConfigError:
        made = None
    if made is None:
        return (0, 0), None
    return (made.width, made.height), str(made.facts.get("dtype") or "") or None
