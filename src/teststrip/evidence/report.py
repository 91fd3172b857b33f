"""The report of a study: one HTML page that needs nothing else, not even a script.

Everything typed by a user goes through Jinja's autoescape; a Content-Security-Policy in the page
allows its own style sheet (by hash) and pictures inside the page, nothing more. What each section
shows is gathered in `views.py` and `findings.py`, drawn in `charts/` and laid out in `templates/`.
"""

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError
from teststrip.evidence import findings, numbers, sheet, views
from teststrip.evidence.answer import (
    answer,
    expectation,
    name_of,
    sentence_name,
    settings_shown,
    short,
)
from teststrip.evidence.charts.bars import shade_of
from teststrip.evidence.grid import MAX_FAILED
from teststrip.evidence.interval import RESAMPLES, SEED
from teststrip.evidence.remarks import remarks

if TYPE_CHECKING:
    import jinja2

    from teststrip.evidence.analysis import Analysis


def render(analysis: "Analysis", read_png: sheet.ReadPng) -> str:
    """The page as text (UTF-8).

    `read_png` gets a row's `png` and returns the picture's bytes (StorageError or OSError: the
    page says that it is missing).
    """
    style = _style()
    ranking = analysis.ranking
    best = ranking.row(ranking.best)
    columns, rows = sheet.plan(analysis, read_png)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            style=style,
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            a=analysis,
            facts=analysis.facts,
            ranking=ranking,
            write=ranking.numbers,
            against="baseline" if ranking.baseline else "leader",
            answer=answer(analysis),
            expected=expectation(analysis),
            figures=views.figures(analysis),
            notes=remarks(analysis),
            cards=views.cards(analysis, read_png),
            wall=views.best_wall(analysis, read_png),
            shares=findings.shares(analysis),
            importance=findings.importance(analysis),
            curves=findings.curves(analysis),
            sheet=views.contact(columns, rows, analysis.facts.higher_is_better),
            columns=columns,
            front=findings.front(analysis),
            people=findings.people(analysis),
            confirmed=findings.confirmed(analysis),
            table=findings.ranking_table(analysis),
            best=best,
            best_name=sentence_name(best),
            fields=list(settings_shown(best)),
            again=views.again(analysis, rows),
            resamples=RESAMPLES,
            seed=SEED,
            most_failed=MAX_FAILED,
            kinds=findings.kinds(analysis),
            name=lambda recipe_id: name_of(analysis, recipe_id),
            shade=shade_of,
            p_stopped=findings.p_stopped(analysis),
            tight=lambda text: views.tight(text, ranking.rows),
            together=findings.together(analysis),
            correlation=findings.correlation,
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
        "show": short,
        "count": numbers.count,
        "share_span": findings.share_span,
    }
    return environment


@lru_cache(maxsize=1)
def _style() -> str:
    return (resources.files(__package__) / "templates/report.css").read_text("utf-8").strip()


def file_reader(folder: Any) -> sheet.ReadPng:
    """A `read_png` for pictures below a folder; a path that leaves the folder is refused."""
    root = folder.resolve()

    def read(name: str) -> bytes:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise StorageError(f"{name}: lies outside of the study's folder")
        return bytes(path.read_bytes())

    return read
