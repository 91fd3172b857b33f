"""`study analyze` on tables from anywhere, `study compare`, and studies read back from MLflow."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from teststrip.testing.synthetic import SyntheticGenerator

STUDY = {
    "name": "first",
    "generator": {
        "name": "synthetic",
        "options": {"effects": {"guidance": {"2.0": 0, "6.0": 1.5}}},
    },
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"prompt {i}" for i in range(12)], "held_out": 0.25},
    "seeds": 2,
    "threshold": 0.5,
    "recipe": {"steps": 10},
    "baseline": {"guidance": 2},
    "space": {"guidance": [2, 6], "scheduler": ["ddim", "euler"]},
    "race": {"kind": "none"},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A grid of 3 x 4 settings on 8 prompts x 2 seeds in which only cfg matters."""
    rng = np.random.default_rng(3)
    prompt, seed = rng.normal(0, 1, 8), rng.normal(0, 0.6, (8, 2))
    rows = [
        {
            "steps": steps,
            "cfg": cfg,
            "prompt_id": f"p{p}",
            "seed": s,
            "clip": prompt[p] + seed[p, s] + (1.0 if cfg == 6 else 0.0) + rng.normal(0, 0.3),
        }
        for steps in (10, 20, 30)
        for cfg in (2, 4, 6, 8)
        for p in range(8)
        for s in range(2)
    ]
    path = tmp_path_factory.mktemp("tables") / "grid.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with one finished study."""
    from teststrip.study import Study
    from teststrip.wire import Bench

    home = tmp_path_factory.mktemp("home")
    Bench(home, track=False).run(Study(STUDY, home=home))
    return home


def test_a_plain_table_is_answered_with_no_flag(run, plain):
    answer = run("study", "analyze", plain)

    assert (answer.code, answer.err) == (0, "")
    for words in ("cfg 6", "Best set: 3 of 12", "Luck:", "cfg ", "no evidence of effect: steps"):
        assert words in answer.out, words
    assert "note: Settings: steps, cfg." in answer.out


def test_the_json_is_the_summary_with_what_was_assumed(run, plain):
    answer = run("study", "analyze", plain, "--json", "--baseline", "steps=10,cfg=2")

    found = answer.json
    assert found["objective"] == "clip"
    assert found["best"]["settings"]["cfg"] == 6
    assert found["best"]["verdict"] == "better"
    assert found["difference"]["mean"] == pytest.approx(1, abs=0.5)
    assert any("Settings" in note for note in found["assumed"])


def test_less_may_be_better(run, plain):
    high = run("study", "analyze", plain, "--json").json
    low = run("study", "analyze", plain, "--json", "--lower-is-better", "--score", "clip").json

    assert high["best"]["settings"]["cfg"] == 6
    assert low["best"]["settings"]["cfg"] != 6


def test_the_whole_report_is_written_and_no_name_of_a_column_runs(run, plain, tmp_path):
    frame = pd.read_csv(plain).rename(columns={"cfg": "<script>alert(1)</script>"})
    frame.to_csv("hostile.csv", index=False)

    answer = run("study", "analyze", "hostile.csv", "--out", "rep", "--name", "mine", "--json")

    files = answer.json["files"]
    assert set(files) >= {"report.html", "contact-sheet.png", "study.json"}
    page = (tmp_path / "rep/report.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "mine" in page


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--score", "nope"), "--score nope"),
        (("--baseline", "steps=99"), "no recipe has these settings"),
        (("--baseline", "cfg=2"), "3 recipes have these settings"),
        (("--baseline", "sharpness=2"), "no setting is called sharpness"),
        (("--baseline", "zzzz"), "no such recipe"),
        (("--design", "lucky"), "sobol"),
        (("--delta", "-1", "--design", "lucky"), "--delta -1"),
        (("--votes", "none.csv"), "none.csv"),
    ],
)
def test_wrong_use_is_2_with_what_to_do(run, plain, flags, message):
    answer = run("study", "analyze", plain, *flags)

    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""


def test_a_file_that_is_not_there_is_2_and_json_says_so(run):
    answer = run("study", "analyze", "nowhere.csv", "--json")

    assert answer.code == 2
    assert "no such file" in answer.json["error"]["message"]


def test_a_table_without_any_finite_score_is_no_crash(run, plain):
    pd.read_csv(plain).assign(clip=np.nan).to_csv("nan.csv", index=False)

    answer = run("study", "analyze", "nan.csv", "--score", "clip")

    assert answer.code == 2
    assert "not one number" in answer.err


@pytest.mark.parametrize("rows", [1, 2])
def test_one_or_two_images_conclude_nothing_and_say_so(run, plain, rows):
    pd.read_csv(plain).iloc[[0, 16][:rows]].to_csv("few.csv", index=False)

    answer = run("study", "analyze", "few.csv", "--score", "clip")

    assert answer.code == 0, answer.err
    assert "is better" not in answer.out
    assert "nan" not in answer.out.lower()


def test_a_table_of_ours_needs_no_flag_and_brings_its_study_along(run, home):
    found = run("study", "analyze", home / "studies/first/images.parquet", "--json").json

    assert (found["study"], found["objective"]) == ("first", "synthetic@1")
    assert found["baseline"]["settings"]["guidance"] == 2
    assert found["best"]["settings"]["guidance"] == 6


def test_a_table_of_ours_alone_still_knows_its_baseline(run, home, tmp_path):
    shutil.copy(home / "studies/first/images.parquet", tmp_path / "images.parquet")

    found = run("study", "analyze", "images.parquet", "--json").json

    assert found["baseline"]["settings"]["guidance"] == 2
    assert found["objective"] == "synthetic@1"


def test_two_recipes_are_compared_with_n_and_interval(run, home, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_HOME", str(home))
    best = json.loads((home / "studies/first/study.json").read_text())["result"]["best_id"]

    answer = run("study", "compare", "first", best[:6])
    found = run("study", "compare", "first", best[:6], "--json").json

    assert answer.code == 0
    assert "is better than" in answer.out
    assert "18 blocks of 9 prompts" in answer.out
    assert found["gain"]["low"] < found["gain"]["mean"] < found["gain"]["high"]
    assert (found["images"], found["prompts"]) == (18, 9)


@pytest.mark.parametrize(
    ("ids", "message"),
    [(("zzzz",), "no such recipe"), (("",), "no such recipe"), (("SAME", "SAME"), "itself")],
)
def test_a_comparison_needs_two_recipes_that_are_there(run, home, monkeypatch, ids, message):
    monkeypatch.setenv("TESTSTRIP_HOME", str(home))
    best = json.loads((home / "studies/first/study.json").read_text())["result"]["best_id"]

    answer = run("study", "compare", "first", *(best if i == "SAME" else i for i in ids))

    assert answer.code == 2
    assert message in answer.err


def test_a_recorded_study_is_reported_and_compared_on_a_machine_that_never_ran_it(
    run, tmp_path, monkeypatch
):
    pytest.importorskip("mlflow")
    from teststrip.study import Study
    from teststrip.wire import Bench

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/record.db")
    there = Bench(tmp_path / "there")
    study = Study(STUDY, home=tmp_path / "there", tracker=there.tracker)
    best = there.run(study).best.recipe_id
    local = json.loads((tmp_path / "there/studies/first/report/study.json").read_text())
    shutil.rmtree(tmp_path / "there")
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "here"))

    reported = run("study", "report", "first", "--out", "rep")
    compared = run("study", "compare", "first", best)
    missing = run("study", "report", "second")

    assert reported.code == 0, reported.err
    again = json.loads((tmp_path / "rep/study.json").read_text())
    for key in ("best", "baseline", "difference", "best_set", "luck", "images_made"):
        assert again[key] == local[key], key
    assert "data:image" in (tmp_path / "rep/report.html").read_text()
    assert "is better than" in compared.out
    assert missing.code == 1
    assert "no study 'second'" in missing.err


def test_the_world_of_these_tests_has_the_truth_that_they_claim():
    from teststrip.recipe import Recipe

    world = SyntheticGenerator(effects={"guidance": {"2.0": 0, "6.0": 1.5}}, sd_recipe=0)

    assert world.truth(Recipe(guidance=6)) - world.truth(Recipe(guidance=2)) == 1.5


def test_every_verb_has_help_with_an_example(run):
    for verb in ("analyze", "compare"):
        answer = run("study", verb, "--help")
        assert "Example" in answer.out
        assert "--json" in answer.out
