"""Stage select: the adapter that goes on, why, and how sure; never a prompt of the check."""

import hashlib
import json
import shutil

import pytest

from tests.project.learned_project import (
    CHECKED,
    VALIDATED,
    contents,
    elsewhere,
    params,
    trained_project,
)
from teststrip.errors import ConfigError, StudyError
from teststrip.project.project import Project
from teststrip.recipe import Block, Recipe
from teststrip.wire.stages import Here, learned
from teststrip.wire.stages.infer import run as infer
from teststrip.wire.stages.select import run

OUTPUTS = ("adapter", "metrics")
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"
QUIET = Here(device="cpu", track=False)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory, one_thread):
    """A project whose select found evidence; read it, do not change it."""
    root = trained_project(tmp_path_factory.mktemp("select") / "here")
    project = Project.open(root)
    return project, run(project, QUIET)


def told(project):
    return json.loads(project.path("adapter/adapter.json").read_text())


def numbers(project):
    return json.loads(project.path("metrics/select.json").read_text())


@pytest.mark.slow
def test_the_checkpoint_that_is_better_goes_on_with_its_evidence(made):
    project, found = made
    adapter, metrics = told(project), numbers(project)
    assert (adapter["refused"], adapter["confirmed"]) == (False, True)
    assert (metrics["refused"], metrics["confirmed"]) == (0, 1)
    assert metrics["step"] == adapter["step"] == found.resolved["step"]
    assert metrics["scale"] == adapter["scale"] == 1.0
    gain = metrics["gain"]["calm@1"]
    assert 0 < gain["low"] < gain["mean"]
    assert gain["prompts"] == 4
    weights = project.path(WEIGHTS).read_bytes()
    assert (
        weights
        == next(
            project.path("model/checkpoints").glob(f"*{adapter['step']}/*.safetensors")
        ).read_bytes()
    )
    assert adapter["sha256"] == hashlib.sha256(weights).hexdigest()
    assert adapter["base"]["model"] == "models/tiny"
    assert adapter["trigger"] == "zwx"
    assert adapter["why"].startswith(f"Step {adapter['step']} at scale")


@pytest.mark.slow
def test_its_recipe_names_the_adapter_as_seen_from_the_project(made):
    project, _ = made
    recipe = Recipe.model_validate(told(project)["recipe"])
    assert [one.path for one in recipe.loras] == [WEIGHTS]
    assert recipe.loras[0].scale == told(project)["scale"]
    assert recipe.steps == 3


@pytest.mark.slow
def test_it_says_which_prompts_took_part_and_the_check_is_none_of_them(made):
    project, _ = made
    seen = told(project)["seen"]
    assert set(seen) == {
        Block(prompt=text, seed=0).prompt_id for text in (*VALIDATED[:9], "a zwx alien")
    }
    assert not {Block(prompt=text, seed=0).prompt_id for text in CHECKED} & set(seen)


@pytest.mark.slow
def test_held_out_pictures_go_with_it_so_that_likeness_can_be_asked(made):
    project, _ = made
    kept = {path.name for path in project.path("adapter/held-out").iterdir()}
    assert kept == {"0.png", "1.png"}


@pytest.mark.slow
def test_select_then_infer_gives_an_arm_that_is_proven(made, tmp_path):
    project, _ = made
    root = tmp_path / "there"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("work"))
    params(root, number_images=1, check_seeds=1, scorers=["project_tone:Tone"])
    found = infer(Project.open(root), QUIET)
    assert learned.read(Project.open(root)).proven
    assert found.resolved["made"]["loras"][0]["path"] == WEIGHTS


@pytest.mark.slow
def test_another_folder_and_an_empty_home_give_the_same_bytes(made, tmp_path):
    project, _ = made
    other = elsewhere(project.root, tmp_path / "there")
    run(other, QUIET)
    assert contents(other.root, *OUTPUTS) == contents(project.root, *OUTPUTS)
    for name, data in contents(other.root, *OUTPUTS).items():
        assert str(other.root).encode() not in data, name


@pytest.mark.slow
def test_it_repeats_itself_without_making_a_picture_again(made):
    project, _ = made
    before = contents(project.root, *OUTPUTS)
    pictures = contents(project.home, "studies")
    run(project, QUIET)
    assert contents(project.root, *OUTPUTS) == before
    again = contents(project.home, "studies")
    assert [name for name in again if name.endswith(".png") and "/images/" in name] == [
        name for name in pictures if name.endswith(".png") and "/images/" in name
    ]


@pytest.fixture
def refused(tmp_path):
    """A project whose checkpoints are the base model."""
    return trained_project(tmp_path / "here", learned=False)


def test_where_the_rule_refuses_the_newest_goes_on_named_unproven(refused):
    project = Project.open(refused)
    found = run(project, QUIET)
    adapter, metrics = told(project), numbers(project)
    assert (metrics["refused"], metrics["confirmed"], metrics["step"]) == (1, 0, 20)
    assert (adapter["scale"], adapter["refused"]) == (1.0, True)
    assert adapter["why"].startswith("UNPROVEN: the newest checkpoint, step 20. No checkpoint of")
    assert "0123456789ab" not in adapter["why"]
    assert found.said == adapter["why"]
    assert set(metrics["gain"]) == {"calm@1", "held_out_loss"}
    assert not learned.read(project).proven


def test_or_the_pipeline_stops_where_that_is_asked(refused):
    params(refused, select={"when_refused": "stop"})
    project = Project.open(refused)
    with pytest.raises(StudyError, match=r"(?s)No checkpoint of this run.*when_refused: stop"):
        run(project, QUIET)
    assert not project.path("adapter").exists()
    assert not project.path("metrics/select.json").exists()


def test_few_validation_prompts_are_judged_without_a_study(tmp_path):
    project = Project.open(trained_project(tmp_path / "here", prompts=4))
    run(project, QUIET)
    adapter, metrics = told(project), numbers(project)
    assert (metrics["refused"], metrics["confirmed"]) == (0, 0)
    assert "it needs 8 prompts" in adapter["note"]
    assert metrics["gain"]["held_out_loss"]["low"] > 0


def test_a_model_that_is_not_there_or_damaged_is_a_clear_error(refused):
    (refused / "model/run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"model/run\.json: not there or damaged"):
        run(Project.open(refused), QUIET)
    shutil.rmtree(refused / "model")
    with pytest.raises(ConfigError, match="dvc pull"):
        run(Project.open(refused), QUIET)
