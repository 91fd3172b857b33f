"""The report of a study: one HTML page that needs nothing else, not even a script.

Everything typed by a user goes through Jinja's autoescape; a Content-Security-Policy in the page
allows its own style sheet (by hash) and pictures inside the page, nothing more.

All that is shown comes from one `Analysis`. As soon as it can be made, this room is called so:

    report.render(analysis: Analysis, read_png: sheet.ReadPng) -> str              report.html
    markdown.render(analysis: Analysis, pictures: str = "contact-sheet.png") -> str  report.md
    summary.summarise(analysis: Analysis) -> dict[str, Any]                        study.json
    summary.recipe_metrics(analysis: Analysis) -> dict[str, dict[str, float]]
    sheet.plan(analysis: Analysis, read_png: sheet.ReadPng) -> (columns, rows)
    sheet.contact_sheet(columns, rows, title=answer(analysis).headline, subtitle=...,
                        numbers=analysis.ranking.numbers, higher_is_better=...)    as before
    answer.answer(analysis: Analysis) -> Answer
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StorageError
from teststrip.evidence import charts, numbers, sheet
from teststrip.evidence.answer import answer, sentence_name
from teststrip.evidence.effects import effects
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import build
from teststrip.evidence.luck import luck
from teststrip.evidence.pareto import front
from teststrip.evidence.ranking import Ranked, Ranking, rank
from teststrip.evidence.reproduce import reproduction
from teststrip.evidence.summary import full_grid, images_made
from teststrip.evidence.thumbnails import data_uri
from teststrip.png import read as read_png_facts

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

FIRST_ROWS = 12
MOST_ROWS = 400
BAR_WIDTH = 160


@dataclass(frozen=True)
class Line:
    """A row of the ranking table: its place, the recipe, its bar and its role."""

    place: int
    row: Ranked
    bar: charts.Mark | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A cell of the contact sheet: a data URI or why there is none."""

    uri: str
    alt: str
    note: str
    score: float | None
    best: bool


def render(
    table: "pd.DataFrame",
    facts: StudyFacts,
    read_png: sheet.ReadPng,
    ranking: Ranking | None = None,
) -> str:
    """The page as text (UTF-8).

    `table` as `evidence.table.checked` returns it; `read_png` gets a row's `png` and returns the
    picture's bytes (StorageError or OSError: the page says that it is missing). Raises StudyError
    where no image has a score.
    """
    ranking = ranking or rank(table, facts)
    write = ranking.numbers
    columns, rows = sheet.plan(table, facts, ranking, read_png)
    chance = luck(build(table, facts), ranking)
    best, made, full = ranking.row(ranking.best), images_made(table), full_grid(table, facts)
    style = _style()
    scale = charts.gain_scale(ranking, 6, BAR_WIDTH - 6)
    lines = _lines(ranking, scale)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            style=style,
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            facts=facts,
            ranking=ranking,
            answer=answer(ranking, facts),
            best=best,
            best_name=sentence_name(best),
            figures=_figures(table, facts, ranking, made, full),
            notes=_notes(table, facts, ranking),
            columns=columns,
            sheet_rows=[
                (row, _pictures(row, columns, rows, facts.higher_is_better)) for row in rows
            ],
            fields=list(best.settings),
            lines=lines[:FIRST_ROWS],
            more_lines=lines[FIRST_ROWS:MOST_ROWS],
            hidden=max(len(ranking.rows) - MOST_ROWS, 0),
            bar_width=BAR_WIDTH,
            zero=scale(0.0),
            luck=chance,
            effects=charts.effect_charts(found := effects(table, facts), write),
            effect=found[0] if found else None,
            pareto=charts.pareto_chart(ranking, write),
            pareto_names=[
                (sentence_name(row), row.gain.mean, row.seconds)
                for row in map(ranking.row, front(ranking.rows))
            ],
            again=reproduction(table, ranking.best, *_size_and_dtype(rows)),
            write=write,
        )
    )


@lru_cache(maxsize=1)
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("teststrip.evidence"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": numbers.percent,
        "duration": numbers.duration,
        "seconds": numbers.seconds,
        "times": numbers.times,
        "show": numbers.show,
        "count": numbers.count,
    }
    return environment


@lru_cache(maxsize=1)
def _style() -> str:
    return (resources.files(__package__) / "templates/report.css").read_text("utf-8").strip()


def _lines(ranking: Ranking, scale: charts.Scale) -> list[Line]:
    roles = {
        "best": ranking.best,
        "median": ranking.median,
        "worst": ranking.worst,
    }
    return [
        Line(
            place=place,
            row=row,
            bar=charts.interval_bar(row, scale),
            roles=tuple(role for role, name in roles.items() if name == row.recipe_id),
        )
        for place, row in enumerate(ranking.rows, 1)
    ]


def _figures(
    table: "pd.DataFrame", facts: StudyFacts, ranking: Ranking, made: int, full: int
) -> list[tuple[str, str, str]]:
    """(number, what it is, a word more)."""
    held_out = int((table["split"] != "search").sum())
    asked = ", ".join(
        part
        for part in (
            f"of {full:,} in a full paired grid",
            f"{held_out} of them held out" if held_out else "",
        )
        if part
    )
    figures = [(f"{made:,}", "images made", asked)]
    if full > made:
        figures.append((numbers.percent(1 - made / full), "of the images saved", "by racing"))
    figures.append((f"{len(ranking.rows):,}", "recipes", f"{ranking.finalists} ran to the end"))
    figures.append((f"{ranking.prompts:,}", "prompts", "the same seeds for every recipe"))
    if facts.seconds is not None:
        figures.append((numbers.duration(facts.seconds), "making images", ""))
    if facts.peak_rss_mb is not None:
        figures.append((f"{facts.peak_rss_mb / 1024:.1f} GB", "peak memory", ""))
    return figures


def _notes(table: "pd.DataFrame", facts: StudyFacts, ranking: Ranking) -> list[str]:
    """What a reader must know before believing a number."""
    notes = []
    failed = table[table["status"] != "ok"]
    if len(failed):
        reason = failed["reason"].astype(str).value_counts().index[0]
        notes.append(
            f"{numbers.count(len(failed), 'image')} failed and no score was made up for them"
            f"{f' (most often: {reason[:200]})' if reason else ''}."
        )
    if facts.baseline is not None and ranking.baseline is None:
        notes.append("The baseline failed too often to be compared with; the leader stands in.")
    if ranking.prompts == 1:
        notes.append(
            "There is one prompt. Intervals are over its seeds and say nothing of other prompts."
        )
    elif ranking.prompts < 6:
        notes.append(
            f"There are only {ranking.prompts} prompts; intervals must be wide. More prompts "
            "help more than more seeds."
        )
    if facts.design in ("tpe", "gp", "nsga2"):
        notes.append(
            f"Recipes were proposed by {facts.design}, which crowds around what looks good: read "
            "the parameter plots as a description of these recipes, not as importance."
        )
    return notes


def _pictures(
    row: sheet.Row, columns: tuple[sheet.Column, ...], rows: tuple[sheet.Row, ...], higher: bool
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
                alt=f"{column.prompt}, seed {column.seed}, {row.role.lower()}",
                note=note or "no picture",
                score=cell.score,
                best=cell.score is not None and sheet.is_best(rows, j, cell.score, higher),
            )
        )
    return pictures


def _size_and_dtype(rows: tuple[sheet.Row, ...]) -> tuple[tuple[int, int], str | None]:
    """What the best recipe's first picture says of itself; (0, 0) and None where nothing."""
    png = next((cell.png for cell in rows[0].cells if cell.png), None)
    try:
        made = read_png_facts(png) if png else None
    except ConfigError:
        made = None
    if made is None:
        return (0, 0), None
    return (made.width, made.height), str(made.facts.get("dtype") or "") or None


def file_reader(folder: Any) -> sheet.ReadPng:
    """A `read_png` for pictures below a folder; a path that leaves the folder is refused."""
    root = folder.resolve()

    def read(name: str) -> bytes:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise StorageError(f"{name}: lies outside of the study's folder")
        return bytes(path.read_bytes())

    return read
