"""`study plan`: cost and power before the first image."""

import pytest
import yaml

STUDY = {
    "generator": "synthetic",
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"prompt {i}" for i in range(12)], "held_out": 0.25},
    "seeds": 4,
    "space": {"guidance": [2, 4, 6], "steps": [10, 20]},
}


@pytest.fixture
def plan(run, tmp_path):
    def command(*flags, **changes):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(STUDY | changes))
        return run("study", "plan", "mine.yaml", *flags)

    return command


def test_a_plan_needs_no_flag_and_says_all_of_it(plan, tmp_path):
    answer = plan("--price-per-hour", "2.5")

    assert (answer.code, answer.err) == (0, "")
    for words in (
        "baseline ",
        "rung 1 ",
        "confirmation ",
        "three images",
        "EUR at 2.5 EUR per hour",
        "80 % power",
        "SD",
        "double the prompts",
    ):
        assert words in answer.out, words
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"], "nothing is written"


def test_the_json_holds_every_number_of_the_text(plan):
    found = plan("--json", "--seconds-per-image", "36", "--price-per-hour", "2").json

    assert found["seconds_total"] == 36 * found["images_total"]
    assert found["cost"] == pytest.approx(2 * 36 * found["images_total"] / 3600)
    assert found["probe"] is None
    power = found["power"]
    assert power["search_comparisons"] == 6
    assert power["confirmation"] > power["search"] > 0
    assert power["unit"].startswith("of the standard deviation")
    names = [v["name"] for v in found["variants"]]
    assert names[0] == "as planned"
    by = {v["name"]: v for v in found["variants"]}
    assert by["double the prompts"]["search"] < by["double the seeds"]["search"]
    assert by["double the seeds"]["search"] < by["as planned"]["search"]
    assert by["half the prompts"]["images"] < found["images_total"]


def test_without_a_probe_no_time_is_made_up(plan):
    answer = plan("--no-probe")
    found = plan("--no-probe", "--json").json

    assert "unknown: not measured" in answer.out
    assert found["seconds_total"] is None
    assert found["cost"] is None


def test_a_generator_that_cannot_be_loaded_leaves_a_plan_without_time(plan):
    answer = plan(generator="my_missing_tool:Generator")

    assert answer.code == 0
    assert "time               unknown: generator 'my_missing_tool:Generator'" in answer.out
    assert "80 % power" in answer.out


@pytest.mark.slow
def test_a_model_that_is_not_there_leaves_a_plan_without_time(plan):
    answer = plan(generator="local", recipe={"model": "/no/such/model"})

    assert answer.code == 0
    assert "time               unknown:" in answer.out
    assert "/no/such/model" in answer.out


def test_one_prompt_tells_nothing_of_others_and_the_plan_says_so(plan):
    answer = plan("--no-probe", prompts=["one"])

    assert answer.code == 0
    assert "at least two" in answer.out
    assert plan("--no-probe", "--json", prompts=["one"]).json["power"]["search"] is None


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--price-per-hour", "-1"), 2, "--price-per-hour -1"),
        (("--seconds-per-image", "-1"), 2, "--seconds-per-image -1"),
        (("--like", "nobody"), 1, "no study 'nobody'"),
        (("--set", "budget.images=3"), 2, "does not pay for the first rung"),
    ],
)
def test_wrong_use_is_said(plan, flags, code, message):
    answer = plan(*flags)

    assert answer.code == code
    assert message in answer.err


def test_an_earlier_study_lends_its_variances(plan, run, monkeypatch, tmp_path):
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    plan()
    assert run("study", "run", "mine.yaml", "--set", "race.kind=none", "--no-track").code == 0

    answer = plan("--no-probe", "--like", "mine")
    power = plan("--no-probe", "--like", "mine", "--json").json["power"]

    assert "study mine: 7 recipes on 9 prompts" in answer.out
    assert power["unit"] == "units of the score"
    # the world's own: recipe x prompt .25, residual .5
    assert power["spread"]["interplay"] == pytest.approx(0.25, abs=0.15)
    assert power["spread"]["residual"] == pytest.approx(0.5, abs=0.1)
    other = plan("--no-probe", "--like", "mine", scorers=["technical"], objectives=["technical"])
    assert other.code == 2
    assert "their units differ" in other.err
