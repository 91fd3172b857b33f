"""From the search's leader to a champion, by the command line and on a real MLflow store."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from teststrip.cli.main import main

GOOD = {"steps": {"best": 20, "width": 4, "height": 3}}  # guidance makes no difference
FLAT = {"name": "synthetic", "options": {"sd_recipe": 0, "sd_recipe_prompt": 0}}


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


def test_export_gives_the_leader_before_and_the_champion_after_a_confirmation(home, run):
    _, before, err = run("export", "small", "--format", "all", "--json")
    assert "The search's leader, not confirmed" in err
    assert not before["confirmed"]

    run("confirm", "small", "--no-track", "--quiet")
    _, after, err = run("export", "small", "--json")

    evidence = json.loads((home / "studies" / "small" / "confirmation.json").read_text())
    assert after["recipe_id"] == evidence["evidence"]["champion"]
    assert after["confirmed"]
    assert "Confirmed: +" in err
    assert set(before["formats"]) == {"json", "a1111", "diffusers"}
    assert set(after["formats"]) == {"json"}


def test_an_exported_recipe_is_a_studys_recipe_and_an_a1111_text_is_read_back(home, run, tmp_path):
    from teststrip import a1111
    from teststrip.recipe import Recipe

    code, out, _ = run("export", "small", "--format", "all", "--out", str(tmp_path / "best"))

    assert code == 0
    fields = json.loads((tmp_path / "best" / "recipe.json").read_text())
    exported = Recipe.model_validate(fields)
    assert out.split() == [
        str(tmp_path / "best" / f"recipe.{end}") for end in ("json", "txt", "py")
    ]
    text = (tmp_path / "best" / "recipe.txt").read_text().removesuffix("\n")
    assert a1111.from_text(text).request.recipe == exported
    compile((tmp_path / "best" / "recipe.py").read_text(), "recipe.py", "exec")

    file = study_file(tmp_path / "next.yaml", name="next", baseline=fields)
    code, next_, _ = run("run", file, "--no-track", "--quiet", "--json")
    assert (code, next_["baseline_id"]) == (0, exported.recipe_id)


def test_one_format_goes_to_one_file_and_any_recipe_may_be_asked_for(home, run, tmp_path):
    baseline = json.loads((home / "studies" / "small" / "study.json").read_text())["result"]
    file = tmp_path / "base.py"

    code, _, err = run(
        "export", "small", "--recipe", baseline["baseline_id"], "--format", "diffusers",
        "--out", str(file),
    )  # fmt: skip

    assert code == 0
    assert "num_inference_steps=8" in file.read_text()
    assert "The baseline" in err
    code, _, err = run("export", "small", "--recipe", "nobody")
    assert code == 2
    assert "has no recipe 'nobody'" in err


def promote(run, *args):
    return run("promote", "small", "--model-name", "posters", "--json", *args)


def test_promote_refuses_what_is_not_confirmed(home, run):
    code, shown, err = promote(run)
    assert code == 1
    assert "not confirmed yet: teststrip study confirm small" in err
    assert shown["error"]["type"] == "StudyError"

    run("confirm", "small", "--top", "1", "--no-track", "--quiet")
    table = pd.read_parquet(home / "studies" / "small" / "images.parquet")
    other = next(
        i for i in table.recipe_id if not (table[table.recipe_id == i].split != "search").any()
    )
    code, _, err = promote(run, "--recipe", other)
    assert code == 1
    assert "was not among those confirmed" in err
    baseline = json.loads((home / "studies" / "small" / "study.json").read_text())["result"]
    code, _, err = promote(run, "--recipe", baseline["baseline_id"])
    assert code == 1
    assert "is the baseline" in err


def test_promote_refuses_what_the_confirmation_does_not_support(home, run, tmp_path):
    file = study_file(tmp_path / "flat.yaml", name="flat", generator=FLAT, baseline={})
    run("run", file, "--no-track", "--quiet")
    _, shown, _ = run("confirm", "flat", "--no-track", "--quiet", "--json")
    assert shown["evidence"]["supported"] == []

    leader = shown["evidence"]["rows"][0]["a"]
    code, _, err = run("promote", "flat", "--model-name", "posters", "--recipe", leader)

    assert code == 1
    assert "the confirmation does not support recipe" in err
    assert "--force --why" in err


@pytest.mark.parametrize(
    ("args", "faults"),
    [
        (("--model-name", "a/b", "--force"), 2),
        (("--model-name", "posters", "--force", "--why", "short"), 1),
        (("--model-name", "posters", "--why", "long enough by itself"), 1),
        (("--model-name", "../x y", "--why", "long enough by itself"), 2),
    ],
)
def test_all_wrong_flags_of_promote_show_at_once(home, run, args, faults):
    code, shown, _ = run("promote", "small", *args, "--json")

    assert code == 2
    assert len(shown["error"]["faults"]) == faults


def test_a_confirmed_recipe_becomes_champion_and_again_changes_nothing(home, run, tmp_path):
    from teststrip.track.connection import Connection
    from teststrip.track.registry import Registry

    _, confirmed, _ = run("confirm", "small", "--quiet", "--json")
    code, first, _ = promote(run)
    _, again, _ = promote(run)

    assert code == 0
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert first["version"] == again["version"] == "1"
    assert first["confirmed"]
    assert not first["forced"]
    row = confirmed["evidence"]["rows"][0]
    tags = first["tags"]
    assert float(tags["gain"]) == pytest.approx(row["gain"]["mean"], rel=1e-4)
    assert (tags["study"], tags["confirmed"], tags["forced"]) == ("small", "true", "false")
    assert (tags["prompts"], tags["images"]) == ("6", "12")
    champion = Registry(Connection(home)).champion("posters", tmp_path)
    assert champion.recipe.recipe_id == first["recipe_id"] == confirmed["evidence"]["champion"]
    assert champion.evidence["headline"] == confirmed["headline"]
    assert champion.evidence["table_sha256"]
    assert champion.model["fingerprint"].startswith("synthetic-")


def test_what_is_forced_says_so_with_its_reason_everywhere(home, run, tmp_path):
    from teststrip.track.connection import Connection
    from teststrip.track.reader import open_study
    from teststrip.track.registry import Registry

    file = study_file(tmp_path / "never.yaml", name="never")  # was never recorded in MLflow
    run("run", file, "--no-track", "--quiet")
    why = "the fair opens tomorrow"

    code, shown, _ = run(
        "promote", "never", "--model-name", "posters", "--force", "--why", why, "--json"
    )

    assert code == 0
    assert (shown["forced"], shown["confirmed"]) == (True, False)
    assert (shown["tags"]["forced"], shown["tags"]["why"]) == ("true", why)
    champion = Registry(Connection(home)).champion("posters", tmp_path / "here")
    assert (champion.evidence["forced"], champion.evidence["why"]) == (True, why)
    assert why in (champion.folder / "README.md").read_text()
    record = open_study(home, "never")
    assert record.run_id == shown["run_id"]
    assert set(record.table()["split"]) == {"search"}
    assert record.file("report.html")
