"""The numbers of a study as JSON: what `study.json` holds and other programs read."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.evidence.answer import answer
from teststrip.evidence.effects import effects
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import build
from teststrip.evidence.interval import Interval
from teststrip.evidence.luck import luck
from teststrip.evidence.pareto import front
from teststrip.evidence.ranking import Ranked, Ranking, rank

if TYPE_CHECKING:
    import pandas as pd


def summarise(
    table: "pd.DataFrame", facts: StudyFacts, ranking: Ranking | None = None
) -> dict[str, Any]:
    """What was made, what was found and how sure that is; JSON types only, NaN is None."""
    ranking = ranking or rank(table, facts)
    chance = luck(build(table, facts), ranking)
    sentence = answer(ranking, facts)
    best = ranking.row(ranking.best)
    baseline = ranking.row(ranking.baseline) if ranking.baseline else None
    made = images_made(table)
    full = full_grid(table, facts)
    return json_safe(
        {
            "study": facts.name,
            "objective": facts.objective,
            "higher_is_better": facts.higher_is_better,
            "answer": sentence.headline,
            "caveat": sentence.caveat,
            "images_made": made,
            "images_failed": int((table["status"] != "ok").sum()),
            "images_full_grid": full,
            "saved": 1 - made / full if full else None,
            "recipes": len(ranking.rows),
            "finalists": ranking.finalists,
            "prompts": ranking.prompts,
            "blocks_common": ranking.common_blocks,
            "confidence": facts.confidence,
            "best": _row(best),
            "baseline": _row(baseline) if baseline else None,
            "difference": _interval(best.gain) if baseline else None,
            "best_set": list(ranking.best_set),
            "better_than_baseline": [row.recipe_id for row in ranking.better],
            "pareto": list(front(ranking.rows)),
            "luck": vars(chance) if chance else None,
            "effects": [
                {
                    "field": effect.field,
                    "span": effect.span,
                    "levels": [
                        {"value": lv.value, "recipes": lv.recipes} | _interval(lv.gain)
                        for lv in effect.levels
                    ],
                }
                for effect in effects(table, facts)
            ],
            "seconds": facts.seconds,
            "peak_rss_mb": facts.peak_rss_mb,
        }
    )


def recipe_metrics(ranking: Ranking, facts: StudyFacts) -> dict[str, dict[str, float]]:
    """`recipe_id` -> numbers for a tracker: mean and gain with their bounds, p, place.

    Keys: `<objective>.mean`, `.mean.low`, `.mean.high`, `.gain`, `.gain.low`, `.gain.high`
    (against the ranking's reference), `.p_holm`, `place`, `images`, `prompts`, `in_best_set`.
    What is not known is left out.
    """
    found: dict[str, dict[str, float]] = {}
    for place, row in enumerate(ranking.rows, 1):
        numbers: dict[str, float | None] = {
            "place": place,
            "images": row.images,
            "prompts": row.prompts,
            "in_best_set": float(row.in_best_set),
            f"{facts.objective}.p_holm": row.p_holm,
        }
        for name, value in (("mean", row.mean), ("gain", row.gain)):
            at = f"{facts.objective}.{name}"
            numbers |= {at: value.mean, f"{at}.low": value.low, f"{at}.high": value.high}
        found[row.recipe_id] = {
            name: float(number)
            for name, number in numbers.items()
            if number is not None and math.isfinite(number)
        }
    return found


def images_made(table: "pd.DataFrame") -> int:
    """Images that exist."""
    return int((table["status"] == "ok").sum())


def full_grid(table: "pd.DataFrame", facts: StudyFacts) -> int:
    """Images that every recipe on every block of the search would have cost."""
    if facts.images_full_grid is not None:
        return facts.images_full_grid
    rows = table[table["split"] == "search"]
    blocks = len(rows.drop_duplicates(["prompt_id", "seed"]))
    return int(rows["recipe_id"].nunique()) * blocks


def json_safe(value: Any) -> Any:
    """Numpy numbers to Python's, tuples to lists, NaN and infinity to None."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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


def _interval(value: Interval) -> dict[str, Any]:
    return {"mean": value.mean, "interval": [value.low, value.high]}
