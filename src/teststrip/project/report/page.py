"""The report as one HTML file that loads nothing and runs nothing: pictures and curves inside.

Everything typed by a user goes through Jinja's autoescape; a Content-Security-Policy allows the
page's own style sheet (by hash) and pictures inside the page.
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from teststrip.errors import MissingExtra
from teststrip.evidence.charts.scale import Scale
from teststrip.evidence.numbers import percent
from teststrip.project.report.content import Content
from teststrip.project.report.pairs import Pair
from teststrip.project.report.verdict import p_words

if TYPE_CHECKING:
    import jinja2

BAR = 150


@dataclass(frozen=True)
class Bar:
    """A difference with its interval, in px: 0 in the middle."""

    zero: float
    low: float
    high: float
    mean: float


def render(content: Content) -> str:
    """The page as text (UTF-8)."""
    style = _style()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            c=content,
            style=style,
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            bars={pair.score: _bar(pair) for pair in content.found},
            percent=percent,
            p_words=p_words,
        )
    )


def _bar(pair: Pair) -> Bar | None:
    gain = pair.found.gain
    if gain.low is None or gain.high is None:
        return None
    reach = 1.15 * max(abs(gain.low), abs(gain.high)) or 1.0
    x = Scale(-reach, reach, 3, BAR - 3)
    return Bar(x(0), x(gain.low), x(gain.high), x(gain.mean))


@lru_cache(maxsize=1)
def _environment() -> "jinja2.Environment":
    try:
        from teststrip.templates import environment
    except ImportError as exc:
        raise MissingExtra("a report", "report") from exc
    return environment("teststrip.project.report")


@lru_cache(maxsize=1)
def _style() -> str:
    return (resources.files(__package__) / "templates/page.css").read_text("utf-8").strip()
