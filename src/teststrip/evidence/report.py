"""The report of a study: one HTML page that needs nothing else, not even a script.

Everything typed by a user goes through Jinja's autoescape; a Content-Security-Policy in the page
allows its own style sheet (by hash) and pictures inside the page, nothing more. What each section
shows is gathered in `shown.py`, drawn in `charts/` and laid out in `templates/`.
"""

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError
from teststrip.evidence import sheet, views
from teststrip.evidence.shown import FILTERS, shown

if TYPE_CHECKING:
    import jinja2

    from teststrip.evidence.analysis import Analysis


def render(analysis: "Analysis", read_png: sheet.ReadPng) -> str:
    """The page as text (UTF-8).

    `read_png` gets a row's `png` and returns the picture's bytes (StorageError or OSError: the
    page says that it is missing).
    """
    style = _style()
    columns, rows = sheet.plan(analysis, read_png)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            shown(analysis),
            style=style,
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            cards=views.cards(analysis, read_png),
            wall=views.best_wall(analysis, read_png),
            sheet=views.contact(columns, rows, analysis.facts.higher_is_better),
            columns=columns,
            again=views.again(analysis, rows),
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
    environment.filters |= FILTERS
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
