"""The numbers of a study as JSON: what `study.json` holds and other programs read."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.evidence.answer import answer, expectation
from teststrip.evidence.importance import Importance, Term
from teststrip.evidence.interval import Interval
from teststrip.evidence.ranking import Ranked
from teststrip.evidence.remarks import remarks

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

MOST_RECIPES = 1000


def summarise(analysis: "Analysis") -> dict[str, Any]:
    """What was made, what was found and how sure that is; JSON types only, NaN is None.

    An interval is `{"mean", "interval": [low, high], "units"}`; its bounds are None where one unit
    is all there is. Every conclusion of `Analysis` has its key, under the names of its dataclass;
    None where nothing can be concluded.
    """
    facts, ranking = analysis.facts, analysis.ranking
    sentence = answer(analysis)
    best = ranking.row(ranking.best)
    baseline = ranking.row(ranking.baseline) if ranking.baseline else None
    made, full = images_made(analysis), full_grid(analysis)
    searched = images_made(analysis, "search")
    expected = expectation(analysis)
    found = {
        "study": facts.name,
        "objective": facts.objective,
        "higher_is_better": facts.higher_is_better,
        "answer": sentence.headline,
        "detail": sentence.detail,
        "caveat": sentence.caveat,
        "images_made": made,
        "images_failed": int((analysis.table["status"] != "ok").sum()),
        "images_full_grid": full,
        "saved": 1 - searched / full if full else None,
        "recipes": len(ranking.rows),
        "finalists": ranking.finalists,
        "prompts": ranking.prompts,
        "blocks_common": ranking.common_blocks,
        "confidence": facts.confidence,
        "best": _row(best),
        "baseline": _row(baseline) if baseline else None,
        "difference": best.gain if baseline else None,
        "expected_difference": expected[0] if expected else None,
        "best_set": ranking.best_set,
        "better_than_baseline": [row.recipe_id for row in ranking.better],
        "pareto": analysis.front.ids,
        "front": analysis.front,
        "luck": analysis.luck,
        "effects": [
            {name.name: getattr(effect, name.name) for name in fields(effect)}
            | {
                "span": effect.span,
                "levels": [
                    {"value": level.value, "recipes": level.recipes} | json_safe(level.gain)
                    for level in effect.levels
                ],
            }
            for effect in analysis.effects
        ],
        "coverage": analysis.coverage,
        "variance": analysis.variance,
        "standings": list(analysis.standings.values())[:MOST_RECIPES],
        "importance": _importance(analysis.importance),
        "agreement": analysis.agreement,
        "people": analysis.people,
        "confirmed": analysis.confirmed
        and json_safe(analysis.confirmed) | {"champion": analysis.confirmed.champion},
        "advice": analysis.advice,
        "kinds": analysis.kinds,
        "notes": remarks(analysis),
        "seconds": facts.seconds,
        "peak_rss_mb": facts.peak_rss_mb,
    }
    return {name: json_safe(value) for name, value in found.items()}


def recipe_metrics(analysis: "Analysis") -> dict[str, dict[str, float]]:
    """`recipe_id` -> numbers for a tracker: mean and gain with their bounds, p, place.

    Keys: `<objective>.mean`, `.mean.low`, `.mean.high`, `.gain`, `.gain.low`, `.gain.high`
    (against the ranking's reference), `.p_holm`, `place`, `images`, `prompts`, `in_best_set`; where
    there is a standing also `.p_best`, `.gain.expected` (shrunk), `.worst_tenth`, `.passes`.
    What is not known is left out.
    """
    objective = analysis.facts.objective
    found: dict[str, dict[str, float]] = {}
    for place, row in enumerate(analysis.ranking.rows, 1):
        numbers: dict[str, float | None] = {
            "place": place,
            "images": row.images,
            "prompts": row.prompts,
            "in_best_set": float(row.in_best_set),
            f"{objective}.p_holm": row.p_holm,
        }
        for name, value in (("mean", row.mean), ("gain", row.gain)):
            at = f"{objective}.{name}"
            numbers |= {at: value.mean, f"{at}.low": value.low, f"{at}.high": value.high}
        standing = analysis.standings.get(row.recipe_id)
        if standing is not None:
            numbers |= {
                f"{objective}.p_best": standing.p_best,
                f"{objective}.gain.expected": standing.gain.mean if standing.gain else None,
                f"{objective}.worst_tenth": standing.worst_tenth.mean,
                f"{objective}.passes": standing.passes.mean if standing.passes else None,
            }
        found[row.recipe_id] = {
            name: float(number)
            for name, number in numbers.items()
            if number is not None and math.isfinite(number)
        }
    return found


def images_made(analysis: "Analysis", split: str = "") -> int:
    """Images that exist, held-out ones included, or those of one split."""
    made = analysis.table["status"] == "ok"
    if split:
        made &= analysis.table["split"] == split
    return int(made.sum())


def full_grid(analysis: "Analysis") -> int:
    """Images that every recipe on every block of the search would have cost."""
    if analysis.facts.images_full_grid is not None:
        return analysis.facts.images_full_grid
    return analysis.coverage.cells


def json_safe(value: Any) -> Any:
    """As JSON knows it: dataclasses to objects, numpy to Python, NaN and infinity to None."""
    if isinstance(value, Interval):
        bounds = [json_safe(value.low), json_safe(value.high)]
        return {"mean": json_safe(value.mean), "interval": bounds, "units": value.units}
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _importance(importance: Importance) -> dict[str, Any]:
    def named(terms: tuple[Term, ...]) -> list[dict[str, Any]]:
        return [{"name": term.name} | json_safe(term) for term in terms]

    found: dict[str, Any] = json_safe(importance)
    return found | {"mains": named(importance.mains), "pairs": named(importance.pairs)}


def _row(row: Ranked) -> dict[str, Any]:
    return {
        "recipe_id": row.recipe_id,
        "settings": row.settings,
        "mean": row.mean.mean,
        "interval": [row.mean.low, row.mean.high],
        "n_images": row.images,
        "n_prompts": row.prompts,
        "n_failed": row.failed,
        "seconds_per_image": row.seconds,
        "wins_against_baseline": row.wins,
        "passes_threshold": row.passes,
        "verdict": row.verdict,
    }
