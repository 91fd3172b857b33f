"""Metrics files and the table of scores: by the evidence rules, the same bytes, read as written."""

import json
import math

import numpy as np
import pytest

from teststrip.errors import ConfigError
from teststrip.evidence.interval import interval, p_value
from teststrip.project.metrics import Scored, gain_of, mean_of, read_metrics, write_metrics
from teststrip.project.scores import Row, Scores, read_scores


def pictures(by_prompt):
    return [
        Scored(prompt, seed, value)
        for prompt, values in by_prompt.items()
        for seed, value in enumerate(values)
    ]


def test_the_unit_is_the_prompt_and_not_the_picture():
    found = mean_of(pictures({"a": [0.0, 2.0], "b": [3.0], "c": [4.0, 6.0]}))
    expected = interval(np.array([1.0, 3.0, 5.0]))
    assert found == {
        "mean": 3.0,
        "low": expected.low,
        "high": expected.high,
        "prompts": 3,
        "images": 5,
    }


def test_a_gain_is_paired_by_prompt_and_seed_and_positive_is_better():
    made = pictures({"a": [1.0, 2.0], "b": [3.0, 9.0], "c": [2.0]})
    reference = pictures({"a": [0.5, 1.0], "b": [3.5], "c": [1.0], "d": [7.0]})
    units = np.array([0.75, -0.5, 1.0])
    found = gain_of(made, reference, higher_is_better=True)
    assert found["mean"] == pytest.approx(units.mean())
    assert found["p"] == pytest.approx(p_value(units))
    assert (found["prompts"], found["images"]) == (3, 4)
    flipped = gain_of(made, reference, higher_is_better=False)
    assert flipped["mean"] == pytest.approx(-found["mean"])
    assert flipped["high"] == pytest.approx(-found["low"])


def test_what_is_not_known_is_left_out_and_never_null(tmp_path):
    assert mean_of(pictures({"a": [1.0]})) == {"mean": 1.0, "prompts": 1, "images": 1}
    assert mean_of(pictures({"a": [math.nan]})) == {"prompts": 0, "images": 0}
    assert gain_of([], [], higher_is_better=True) == {"prompts": 0, "images": 0, "p": 1.0}
    path = tmp_path / "metrics/x.json"
    with pytest.raises(ValueError, match=r"x\.json\.a\.b"):
        write_metrics(path, {"a": {"b": math.nan}})
    assert not path.exists()


def test_a_metrics_file_has_six_digits_and_sorted_keys(tmp_path):
    path = tmp_path / "metrics/x.json"
    write_metrics(path, {"b": 1 / 3, "a": {"n": 7, "yes": True}})
    assert path.read_text() == ('{\n "a": {\n  "n": 7,\n  "yes": 1\n },\n "b": 0.333333\n}\n')
    write_metrics(tmp_path / "metrics/y.json", {"a": {"yes": 1, "n": 7}, "b": 1 / 3 + 1e-12})
    assert (tmp_path / "metrics/y.json").read_bytes() == path.read_bytes()
    assert read_metrics(path.read_bytes(), "x") == json.loads(path.read_text())


@pytest.mark.parametrize("text", ["", "[1]", "{", "7"])
def test_what_is_no_metrics_file_is_said(text):
    with pytest.raises(ConfigError, match=r"metrics/x\.json: no metrics file"):
        read_metrics(text, "metrics/x.json")


ROWS = (
    Row("made", "check", "b", 'a "big", red\ncat', 1, "images/made/b-1.png", {"s@1": 1 / 3}),
    Row("made", "check", "a", "ein Käfer", 2, "images/made/a-2.png", {"s@1": math.nan}),
    Row("made", "gallery", "a", "ein Käfer", 2, "images/made/a-2.png", {"s@1": 1e-9}),
    Row("reference", "check", "a", "ein Käfer", 2, "images/reference/a-2.png", {"s@1": 2.0}),
)


def test_a_table_is_read_as_it_was_written_in_one_order(tmp_path):
    path = tmp_path / "scores.csv"
    Scores(("s@1",), ROWS).write(path)
    text = path.read_text()
    again = tmp_path / "again.csv"
    Scores(("s@1",), ROWS[::-1]).write(again)
    assert again.read_text() == text
    found = read_scores(text, "scores.csv")
    assert found.columns == ("s@1",)
    assert [(r.arm, r.set, r.prompt_id) for r in found.rows] == sorted(
        (r.arm, r.set, r.prompt_id) for r in ROWS
    )
    assert {r.prompt for r in found.rows} == {r.prompt for r in ROWS}
    assert [s.value for s in found.of("reference", "s@1")] == [2.0]
    assert math.isnan(found.of("made", "s@1")[0].value)
    assert [s.seed for s in found.of("made", "s@1", "gallery")] == [2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks columns arm, set"),
        ("arm,set\n", "lacks columns prompt_id"),
        ("arm,set,prompt_id,prompt,seed,s@1,png\nmade,check,a,x,one,0.5,p\n", "line 2"),
        ("arm,set,prompt_id,prompt,seed,s@1,png\nmade,check,a,x,1,high,p\nmade\n", "line 3"),
    ],
)
def test_a_damaged_table_is_said_by_line(text, said):
    with pytest.raises(ConfigError, match=said):
        read_scores(text, "plots/scores.csv")
