"""Stage study: a search with a known truth; the winner is confirmed or the baseline stays."""

import csv
import json

import pytest
import yaml

from tests.project.learned_project import contents, elsewhere
from teststrip.errors import ConfigError, StudyError
from teststrip.project.params import Infer
from teststrip.project.project import Project
from teststrip.wire.stages import Here, learned
from teststrip.wire.stages.study import config_of, run

QUIET = Here(device="cpu", track=False)
TIMED = ("study/report.html", "study/report.md", "study/study.json")
PROMPTS = tuple(
    f"a {colour} {what}"
    for colour in ("red", "blue", "black", "green")
    for what in ("circle", "square", "fox", "boat")
)


def a_study(height, **changes):
    """One where guidance 6 is `height` better than 2, in SDs of single pictures."""
    return {
        "generator": {
            "name": "synthetic",
            "options": {"effects": {"guidance": {"best": 6, "width": 4, "height": height}}},
        },
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "seeds": 4,
        "space": {"guidance": [2, 4, 6, 8]},
        "baseline": {"guidance": 2},
    } | changes


def project_of(folder, study):
    (folder / "data").mkdir(parents=True)
    (folder / "data/study-prompts.txt").write_text("".join(f"{text}\n" for text in PROMPTS))
    data = {"kind": "study", "study": study, "infer": {"prompt": "a fox"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(data))
    return Project.open(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose study ran; read it, do not change it."""
    project = project_of(tmp_path_factory.mktemp("study") / "here", a_study(2.0))
    return project, run(project, QUIET)


def test_a_better_recipe_is_confirmed_on_prompts_that_the_search_never_saw(made):
    project, found = made
    told = json.loads(project.path("study/recipe.json").read_text())
    assert (told["which"], told["confirmed"]) == ("champion", True)
    assert told["recipe"]["guidance"] == 6.0
    assert told["reference"]["guidance"] == 2.0
    assert found.said.startswith("Confirmed: guidance 6 beats the baseline")
    numbers = json.loads(project.path("metrics/study.json").read_text())
    assert numbers["confirmed"] == 1
    assert numbers["gain"]["synthetic@1"]["low"] > 0
    assert numbers["winner"]["synthetic@1"]["images"] == 4 * 4
    assert numbers["winner"]["synthetic@1"]["prompts"] == 4
    assert numbers["baseline"]["synthetic@1"]["mean"] < numbers["winner"]["synthetic@1"]["mean"]


def test_infer_reads_the_winner_and_will_not_change_what_was_searched(made):
    project, _ = made
    known = learned.read(project)
    assert known.proven
    assert known.made.guidance == 6.0
    assert len(known.seen) == len(PROMPTS)
    assert known.drawn_by(Infer(prompt="x", steps=9)).reference.steps == 9
    with pytest.raises(ConfigError) as caught:
        known.drawn_by(Infer(prompt="x", guidance=3))
    assert "infer.guidance: the study searched it and 6.0 is its answer" in str(caught.value)


def test_the_table_has_no_times_and_no_paths(made):
    project, _ = made
    with project.path("study/images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert not {"seconds", "started", "finished", "png", "study"} & set(rows[0])
    assert {row["split"] for row in rows} == {"search", "held_out"}
    assert all(float(row["synthetic@1"]) for row in rows)


@pytest.mark.slow
def test_another_folder_gives_the_same_bytes_but_in_the_timed_reports(made, tmp_path):
    project, _ = made
    other = elsewhere(project.root, tmp_path / "there")
    run(other, QUIET)
    first = contents(project.root, "study", "metrics")
    second = contents(other.root, "study", "metrics")
    assert set(first) == set(second) > set(TIMED)
    assert [name for name in first if first[name] != second[name] and name not in TIMED] == []
    for name, data in second.items():
        assert str(other.root).encode() not in data, name


@pytest.mark.slow
def test_where_nothing_is_better_the_baseline_stays_and_says_so(tmp_path):
    project = project_of(tmp_path / "here", a_study(0.0))
    found = run(project, QUIET)
    told = json.loads(project.path("study/recipe.json").read_text())
    assert (told["which"], told["confirmed"]) == ("baseline", False)
    assert told["recipe"] == told["reference"]
    assert found.said.startswith("Not confirmed")
    assert found.said.endswith("The baseline stays.")
    assert json.loads(project.path("metrics/study.json").read_text())["confirmed"] == 0
    assert not learned.read(project).proven


@pytest.mark.slow
def test_a_study_that_ran_is_gone_on_with_by_the_same_code_only(made, tmp_path, monkeypatch):
    from teststrip.wire.stages import kept_studies

    done = []
    here = Here(device="cpu", track=False, progress=lambda what, *_: done.append(what))
    other = elsewhere(made[0].root, tmp_path / "there")
    run(other, here)
    searched = done.count("search")
    assert searched
    done.clear()
    run(other, here)
    assert done.count("search") == 0
    monkeypatch.setattr(kept_studies, "source_sha256", lambda: "other code")
    run(other, here)
    assert done.count("search") == searched


def test_every_fault_is_said_at_once_by_its_name_in_params_yaml(tmp_path):
    study = a_study(1.0, name="mine", prompts=["a fox"], space={"guidence": [1]}, speed=1)
    project = project_of(tmp_path / "here", study)
    with pytest.raises(ConfigError) as caught:
        config_of(project)
    text = str(caught.value)
    assert "study.name: remove it" in text
    assert "study.prompts: the prompts are those of data/study-prompts.txt" in text
    assert "study.space.guidence" in text
    assert "study.speed: unknown key" in text


def test_what_depends_on_a_clock_is_refused(tmp_path):
    study = a_study(1.0, objectives=["synthetic", "seconds"], budget={"minutes": 1})
    with pytest.raises(ConfigError) as caught:
        config_of(project_of(tmp_path / "here", study))
    assert "study.objectives: seconds" in str(caught.value)
    assert "study.budget.minutes" in str(caught.value)


def test_a_study_that_fails_leaves_nothing_behind(tmp_path):
    study = a_study(1.0, scorers=["technical"], objectives=["synthetic"])
    project = project_of(tmp_path / "here", study)
    with pytest.raises((StudyError, ConfigError)):
        run(project, QUIET)
    assert not project.path("study").exists()
    assert not project.path("metrics/study.json").exists()
