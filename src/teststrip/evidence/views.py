"""What the report's head, cards and pictures show, gathered from the analysis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError
from teststrip.evidence import gallery, numbers, sheet
from teststrip.evidence.answer import name_of, setting_words
from teststrip.evidence.charts import bars
from teststrip.evidence.charts.scale import Mark
from teststrip.evidence.findings import BAR_WIDTH
from teststrip.evidence.ranking import Ranked
from teststrip.evidence.reproduce import Reproduction, reproduction
from teststrip.evidence.standing import Standing
from teststrip.evidence.summary import full_grid, images_made
from teststrip.evidence.thumbnails import data_uri
from teststrip.png import read as read_png_facts

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

MOST_CARDS = 6


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
class Picture:
    """A cell of the contact sheet: a data URI or why there is none."""

    uri: str
    alt: str
    note: str
    score: float | None
    best: bool


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


def cards(analysis: "Analysis", source: gallery.Source) -> Cards:
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
                strip=gallery.strip(analysis, row.recipe_id, source),
            )
            for row in rows
        ),
        more=len(ranking.best_set) - len(rows),
        zero=scale(0.0),
    )


def best_wall(analysis: "Analysis", source: gallery.Source) -> tuple[gallery.Shot, ...]:
    """All pictures of the leader, where its strip does not show them all."""
    shots = gallery.wall(analysis, analysis.ranking.best, source)
    return shots if len(shots) > gallery.TYPICAL + gallery.WORST else ()


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


def again(analysis: "Analysis", rows: Sequence[sheet.Row]) -> tuple[str, Reproduction] | None:
    """(recipe's name, texts to copy) of the confirmed champion, or else of the leader."""
    recipe_id = analysis.ranking.best
    if analysis.confirmed is not None and analysis.confirmed.champion:
        recipe_id = analysis.confirmed.champion
    texts = reproduction(analysis.table, recipe_id, *_size_and_dtype(rows))
    return (f"{name_of(analysis, recipe_id)} (recipe {recipe_id})", texts) if texts else None


def tight(text: str, rows: Sequence[Ranked]) -> str:
    """A setting and its value stay on one line, as far as they are short."""
    parts = {part for row in rows[:60] for part in setting_words(row) if len(part) < 28}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(f"{part}", part.replace(" ", "\u00a0"))
    return text


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
