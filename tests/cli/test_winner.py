"""From the search's leader to a champion, by the command line and on a real MLflow store."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from teststrip.cli.main import main

GOOD = {"steps": {"best": 20, "width": 4, "height": 3}}  # guidance makes no difference


def study_file(path, **changes):
    data = {
        "name": "small",
        "generator": {"name": "synthetic", "options": {"effects": GOOD}},
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "prompts": {"items": [f"prompt {i}" for i in range(12)], "held_out": 0.5},
        "seeds": 2,
        "space": {"scheduler": ["ddim", "euler"], "steps": {"int": [10, 30], "step": 10}},
        "baseline": {"steps": 8},
        "race": {"start": 2, "top": 8, "ask": 4},
    } | changes
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A home with a study that was run and recorded; copied for each test."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTSTRIP_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(["study", "run", study_file(folder / "small.yaml"), "--quiet"]) == 0
    return folder / "home"


@pytest.fixture
def home(template, tmp_path, monkeypatch):
    """A copy of it, with the same artifacts."""
    home = tmp_path / "home"
    shutil.copytree(template / "studies", home / "studies")
    shutil.copyfile(template / "mlflow.db", home / "mlflow.db")
    monkeypatch.setenv("TESTSTRIP_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return home


@pytest.fixture
def run(capsys):
    """`run(verb, ...)` -> (exit code, stdout, stderr); with --json stdout is read."""

    def run(*args):
        capsys.readouterr()
        code = main(["study", *args])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in args else out, err

    return run


def test_confirm_prints_a_headline_each_leader_and_what_it_rests_on(home, run):
    code, out, _ = run("confirm", "small", "--no-track", "--quiet")

    assert code == 0
    first, *rest = out.splitlines()
    assert first.startswith("Confirmed: ")
    assert "steps 20 beats the baseline by +" in first
    assert first.endswith("on 6 prompts x 2 seeds it never saw.")
    assert sum(", p " in line for line in rest) == 3
    assert "Holm's correction for 3 leaders" in out


def test_confirm_leaves_its_evidence_beside_the_study_and_a_new_report(home, run):
    page = home / "studies" / "small" / "report" / "report.html"
    page.write_text("old")

    code, shown, _ = run("confirm", "small", "--no-track", "--quiet", "--json")

    folder = home / "studies" / "small"
    stored = json.loads((folder / "confirmation.json").read_text())
    record = json.loads((folder / "study.json").read_text())["confirmed"]
    assert code == 0
    assert stored["headline"] == record["headline"] == shown["headline"]
    assert stored["evidence"] == record["evidence"] == shown["evidence"]
    row = stored["evidence"]["rows"][0]
    assert row["gain"]["low"] < row["gain"]["mean"] < row["gain"]["high"]
    assert (row["images"], row["prompts"], row["family"]) == (12, 6, 3)
    assert stored["evidence"]["champion"] == stored["evidence"]["supported"][0]
    assert page.read_text() != "old"


def test_confirming_with_others_keeps_the_first_in_the_family_and_says_so(home, run):
    run("confirm", "small", "--top", "1", "--no-track", "--quiet")
    _, shown, _ = run(
        "confirm", "small", "--top", "3", "--seeds", "3", "--no-track", "--quiet", "--json"
    )

    assert {row["family"] for row in shown["evidence"]["rows"]} == {3}
    assert shown["looks"] == 2
    assert any("confirmed 2 times" in note for note in shown["notes"])
    _, again, _ = run("confirm", "small", "--no-track", "--quiet", "--json")
    assert (again["images_now"], again["looks"]) == (0, 2)


def test_confirm_is_recorded_beside_the_search(home, run):
    from teststrip.track.reader import open_study

    _, shown, _ = run("confirm", "small", "--quiet", "--json")

    record = open_study(home, "small")
    rows = {row["a"]: row for row in shown["evidence"]["rows"]}
    assert record.status == "finished"
    assert record.metrics["confirmed"] == 1
    for recipe_id, row in rows.items():
        metrics = record.recipes()[recipe_id]["metrics"]
        assert metrics["confirmed.gain"] == pytest.approx(row["gain"]["mean"])
        assert metrics["confirmed.p_holm"] == pytest.approx(row["p_holm"])
    assert set(record.table()["split"]) == {"search", "held_out"}
    assert json.loads(record.file("confirmation.json"))["headline"] == shown["headline"]


def test_a_study_without_held_out_prompts_is_refused_with_the_way_out(home, run, tmp_path):
    file = study_file(tmp_path / "s.yaml", name="all", prompts=["a", "b", "c", "d"])
    run("run", file, "--no-track", "--quiet")

    code, _, err = run("confirm", "all", "--no-track")

    assert code == 2
    assert "no prompts are held out" in err
    assert "prompts.held_out" in err
    assert not (home / "studies" / "all" / "confirmation.json").exists()


def test_the_table_tells_search_and_confirmation_apart(home, run):
    run("confirm", "small", "--no-track", "--quiet")

    table = pd.read_parquet(home / "studies" / "small" / "images.parquet")
    search, held = (table[table.split == split] for split in ("search", "held_out"))
    assert not set(search.prompt_id) & set(held.prompt_id)
    assert not set(search.seed) & set(held.seed)
