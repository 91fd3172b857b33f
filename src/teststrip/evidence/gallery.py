"""The pictures of a recipe that say how consistent it is: from its best to its worst."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import ConfigError, StorageError
from teststrip.evidence.sheet import ReadPng
from teststrip.evidence.thumbnails import MAX_SIDE, SMALL_SIDE, data_uri

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

TYPICAL, WORST, WALL = 4, 4, 60


@dataclass(frozen=True)
class Addresses:
    """Pictures that a page may load: `picture` and `target` of a click, by image key."""

    picture: Callable[[str], str]
    target: Callable[[str], str]


Source = ReadPng | Addresses


@dataclass(frozen=True)
class Shot:
    """One picture: a data URI or address, or why there is none. `target`: where a click leads."""

    uri: str
    alt: str
    score: float
    note: str = ""
    target: str = ""


@dataclass(frozen=True)
class Strip:
    """One recipe's pictures. `typical`: from its best downwards, evenly spaced by score, its worst
    tenth aside; `worst`: out of its worst tenth of `worst_of` images, the worst last."""

    typical: tuple[Shot, ...]
    worst: tuple[Shot, ...]
    worst_of: int


def strip(analysis: "Analysis", recipe_id: str, source: Source) -> Strip:
    """At most eight pictures of a recipe's search images, inside the page or by address."""
    rows = _by_score(analysis, recipe_id)
    tenth = -(-len(rows) // 10) if len(rows) > TYPICAL else 0
    upper, lower = rows[: len(rows) - tenth], rows[len(rows) - tenth :]
    return Strip(
        typical=tuple(_shot(row, analysis, source) for row in _spread(upper, TYPICAL)),
        worst=tuple(_shot(row, analysis, source) for row in _spread(lower, WORST)),
        worst_of=tenth,
    )


def wall(analysis: "Analysis", recipe_id: str, source: Source) -> tuple[Shot, ...]:
    """All search images of a recipe, the worst first, small; evenly spaced if more than 60."""
    rows = _spread(_by_score(analysis, recipe_id)[::-1], WALL)
    return tuple(_shot(row, analysis, source, SMALL_SIDE) for row in rows)


def _by_score(analysis: "Analysis", recipe_id: str) -> list[dict[str, Any]]:
    """A recipe's scored search images that have a picture, the best first."""
    table, facts = analysis.table, analysis.facts
    own = table[(table["recipe_id"] == recipe_id) & (table["split"] == "search")]
    own = own[(own["status"] == "ok") & (own["png"].astype(str) != "")]
    own = own[np.isfinite(own[facts.objective].astype(float))]
    own = own.sort_values(facts.objective, ascending=not facts.higher_is_better, kind="stable")
    found: list[dict[str, Any]] = own[
        ["prompt", "seed", "png", "image_key", facts.objective]
    ].to_dict("records")
    return found


def _spread(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """First, last and evenly between."""
    if len(rows) <= most:
        return rows
    return [rows[round(k)] for k in np.linspace(0, len(rows) - 1, most)]


def _shot(row: dict[str, Any], analysis: "Analysis", source: Source, side: int = MAX_SIDE) -> Shot:
    score = float(row[analysis.facts.objective])
    alt = f"{str(row['prompt'])[:200]}, seed {row['seed']}"
    if isinstance(source, Addresses):
        key = str(row["image_key"])
        return Shot(source.picture(key), alt, score, target=source.target(key))
    try:
        return Shot(data_uri(source(str(row["png"])), side), alt, score)
    except (StorageError, OSError):
        return Shot("", alt, score, "picture missing")
    except ConfigError:
        return Shot("", alt, score, "picture cannot be read")
