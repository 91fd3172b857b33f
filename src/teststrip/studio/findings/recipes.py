"""The ranking as a table to sort, filter and page through: every recipe, however many."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teststrip.evidence.answer import settings_shown
from teststrip.evidence.charts import bars
from teststrip.evidence.charts.scale import Mark
from teststrip.evidence.findings import BAR_WIDTH
from teststrip.evidence.ranking import BETTER, UNCLEAR, WORSE, Ranked

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

PER_PAGE = 50
Key = Callable[[Ranked], Any]
VERDICTS = (
    ("best", "in the best set"),
    ("better", "better"),
    ("worse", "worse"),
    ("unclear", "not distinguishable"),
    ("stopped", "stopped early"),
    ("failed", "with failed images"),
)
DOWNWARDS = {"gain", "low", "mean", "p_best", "wins", "passes", "images"}
NUMERIC = frozenset({"mean", "p_best", "wins", "p", "images", "passes", "seconds"})


@dataclass(frozen=True)
class Column:
    """One that can be sorted by. `field`: the setting it shows, empty for numbers."""

    key: str
    title: str
    field: str = ""


@dataclass(frozen=True)
class Line:
    """A recipe, its place in the ranking, its bar, its chance of being best."""

    place: int
    row: Ranked
    bar: Mark | None
    p_best: float | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """One page of the ranking. `counts`: how many recipes each verdict has."""

    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    sort: str
    down: bool
    verdict: str
    page: int
    pages: int
    found: int
    counts: Mapping[str, int]
    zero: float
    width: int = BAR_WIDTH
    numeric: frozenset[str] = NUMERIC

    @property
    def turned(self) -> bool:
        """The other way round than this column begins with."""
        return self.down != (self.sort in DOWNWARDS)


def listing(analysis: "Analysis", sort: str, verdict: str, page: int) -> Listing:
    """`sort`: a column's key, `-` before it turns it round; what is unknown falls back to place.

    Recipes without the number that is sorted by stand last, whichever way round.
    """
    ranking = analysis.ranking
    columns = columns_of(analysis)
    turned, key = sort.startswith("-"), sort.removeprefix("-")
    if key not in {column.key for column in columns}:
        turned, key = False, "place"
    down = (key in DOWNWARDS) != turned
    placed = list(enumerate(ranking.rows, 1))
    kept = [(place, row) for place, row in placed if _has(row, verdict)]
    value = _value_of(key, analysis)
    known = [(value(place, row), place, row) for place, row in kept]
    there = [one for one in known if one[0] is not None]
    there.sort(key=lambda one: one[0], reverse=down)
    ordered = there + [one for one in known if one[0] is None]
    pages = max(math.ceil(len(ordered) / PER_PAGE), 1)
    page = min(max(page, 1), pages)
    scale = bars.gain_scale(ranking, 6, BAR_WIDTH - 6)
    roles = {"best": ranking.best, "median": ranking.median, "worst": ranking.worst}
    return Listing(
        lines=tuple(
            Line(
                place,
                row,
                bars.interval_bar(row.gain, scale, bars.row_kind(row)),
                _p_best(analysis, row),
                tuple(role for role, name in roles.items() if name == row.recipe_id),
            )
            for _, place, row in ordered[(page - 1) * PER_PAGE : page * PER_PAGE]
        ),
        columns=columns,
        sort=key,
        down=down,
        verdict=verdict,
        page=page,
        pages=pages,
        found=len(ordered),
        counts={name: sum(_has(row, name) for row in ranking.rows) for name, _ in VERDICTS},
        zero=scale(0.0),
    )


def columns_of(analysis: "Analysis") -> tuple[Column, ...]:
    """Place, settings, numbers."""
    fields = settings_shown(analysis.ranking.row(analysis.ranking.best))
    found = [Column("place", "#")]
    found += [Column(f"set.{field}", field, field) for field in fields]
    found += [Column("recipe", "recipe")] * (not fields)
    found += [
        Column("gain", "gain"),
        Column("low", "lower bound"),
        Column("mean", "mean score"),
        Column("p_best", "P(best)"),
        Column("wins", "wins"),
        Column("p", "p (Holm)"),
        Column("images", "images"),
        Column("verdict", "verdict"),
    ]
    found += [Column("passes", "passed")] * (analysis.facts.threshold is not None)
    return (*found, Column("seconds", "s / image"))


def _has(row: Ranked, verdict: str) -> bool:
    checks: dict[str, bool] = {
        "best": row.in_best_set,
        "better": row.verdict == BETTER,
        "worse": row.verdict == WORSE,
        "unclear": row.verdict == UNCLEAR,
        "stopped": row.stopped,
        "failed": row.failed > 0,
    }
    return checks.get(verdict, True)


def _value_of(key: str, analysis: "Analysis") -> Callable[[int, Ranked], Any]:
    if key == "place":
        return lambda place, row: place
    if key.startswith("set."):
        field = key.removeprefix("set.")
        return lambda place, row: _setting(row.settings.get(field))
    of: dict[str, Key] = {
        "recipe": lambda row: row.recipe_id,
        "gain": lambda row: row.gain.mean if row.gain.units else None,
        "low": lambda row: row.gain.low,
        "mean": lambda row: row.mean.mean if row.mean.units else None,
        "p_best": lambda row: _p_best(analysis, row),
        "wins": lambda row: row.wins,
        "p": lambda row: row.p_holm if math.isfinite(row.p_holm) else None,
        "images": lambda row: row.images,
        "verdict": lambda row: (row.stopped, row.verdict),
        "passes": lambda row: row.passes,
        "seconds": lambda row: row.seconds,
    }
    value = of[key]
    return lambda place, row: value(row)


def _setting(value: Any) -> tuple[int, float, str] | None:
    """Numbers before words, so that a column of both can be sorted."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def _p_best(analysis: "Analysis", row: Ranked) -> float | None:
    standing = analysis.standings.get(row.recipe_id)
    return standing.p_best if standing else None
