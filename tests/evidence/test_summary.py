"""The summary as JSON, and the numbers that go to a tracker."""

import json
import math

import numpy as np

from teststrip.evidence.summary import json_safe, recipe_metrics, summarise

CONTRACT = {
    *("study", "objective", "higher_is_better", "answer", "caveat", "confidence"),
    *("images_made", "images_failed", "images_full_grid", "saved", "recipes", "finalists"),
    *("prompts", "blocks_common", "best", "baseline", "difference", "best_set"),
    *("better_than_baseline", "pareto", "luck", "effects", "seconds", "peak_rss_mb"),
}
CONCLUSIONS = {
    *("coverage", "variance", "standings", "importance", "front", "agreement", "people"),
    *("confirmed", "advice", "notes"),
}


def test_the_summary_is_json_and_agrees_with_the_ranking(known):
    analysis, _ = known

    found = json.loads(json.dumps(summarise(analysis), allow_nan=False))

    ranking = analysis.ranking
    assert set(found) >= CONTRACT | CONCLUSIONS
    assert found["images_made"] == len(analysis.table)
    assert found["images_full_grid"] == 13 * 32
    assert found["recipes"] == 13
    assert found["best"]["recipe_id"] == ranking.best
    assert found["best"]["n_images"] == 32
    assert found["best"]["n_prompts"] == 8
    low, high = found["difference"]["interval"]
    assert low <= found["difference"]["mean"] <= high
    assert found["peak_rss_mb"] == 1900.0
    assert [s["recipe_id"] for s in found["standings"]] == list(analysis.standings)


def test_the_summary_of_everything_at_once_is_json(full):
    found = json.loads(json.dumps(summarise(full), allow_nan=False))

    assert found["confirmed"]["champion"] == full.confirmed.champion
    assert found["importance"]["mains"][0]["name"] == full.importance.mains[0].name
    assert found["people"]["strengths"][1]["strength"]["interval"] == [None, None]
    assert found["agreement"]["pairs"][0]["recipes"]["mean"] is None
    assert found["advice"][0]["command"] == full.advice[0].command


def test_no_number_is_none_and_numpy_becomes_python():
    found = json_safe({"a": np.float64("nan"), "b": (np.int64(3), math.inf), "c": np.arange(2)})

    assert found == {"a": None, "b": [3, None], "c": [0, 1]}


def test_every_recipe_has_numbers_for_the_tracker(known):
    analysis, _ = known

    found = recipe_metrics(analysis)

    assert set(found) == {row.recipe_id for row in analysis.ranking.rows}
    best = found[analysis.ranking.best]
    assert best["place"] == 1
    assert best["clip@1.gain.low"] <= best["clip@1.gain"] <= best["clip@1.gain.high"]
    assert 0 <= best["clip@1.p_best"] <= 1
    assert all(np.isfinite(list(numbers.values())).all() for numbers in found.values())
