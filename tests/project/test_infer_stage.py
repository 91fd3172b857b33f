"""Stage infer: both arms on the same blocks, the same bytes anywhere, evidence on new prompts."""

import json

import pytest

from tests.project.learned_project import (
    CHECKED,
    contents,
    elsewhere,
    learned_project,
    params,
    write_adapter,
)
from teststrip import png
from teststrip.errors import ConfigError, StudyError
from teststrip.project.project import Project
from teststrip.project.scores import read_scores
from teststrip.recipe import Block
from teststrip.wire.stages import Here
from teststrip.wire.stages.infer import run

OUTPUTS = ("images", "metrics", "plots")
QUIET = Here(track=False)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory, one_thread):
    """A project whose infer ran; read it, do not change it."""
    root = learned_project(tmp_path_factory.mktemp("infer") / "here")
    return root, run(Project.open(root), QUIET)


@pytest.fixture
def project(tmp_path):
    return learned_project(tmp_path / "here")


def scores_of(root):
    return read_scores((root / "plots/scores.csv").read_text(), "plots/scores.csv")


def test_both_arms_have_the_same_prompts_and_seeds(made):
    root, _ = made
    table = scores_of(root)
    blocks = {
        arm: [(r.set, r.prompt_id, r.seed) for r in table.rows if r.arm == arm]
        for arm in ("made", "reference")
    }
    assert blocks["made"] == blocks["reference"]
    assert sum(row.set == "gallery" for row in table.rows) == 2 * 3
    checked = {row.prompt for row in table.rows if row.set == "check"}
    assert checked == set(CHECKED)
    assert sum(row.set == "check" for row in table.rows) == 2 * 2 * len(CHECKED)


def test_a_picture_says_what_made_it_and_nothing_of_this_machines_folders(made):
    root, _ = made
    rows = scores_of(root).rows
    for row in rows:
        data = (root / row.png).read_bytes()
        facts = png.read(data)
        assert facts.request.block == Block(prompt=row.prompt, seed=row.seed)
        loras = facts.request.recipe.loras
        assert [(one.path, one.scale) for one in loras] == (
            [("adapter/pytorch_lora_weights.safetensors", 0.75)] if row.arm == "made" else []
        )
        assert str(root).encode() not in data
    assert {row.png for row in rows} == set(contents(root, "images"))


def test_the_adapter_changes_pictures(made):
    root, _ = made
    pictures = contents(root, "images")
    for name in pictures:
        if name.startswith("images/made/"):
            assert (
                png.pixels(pictures[name])
                != png.pixels(pictures[name.replace("made", "reference")])
            ).any()


def test_metrics_are_those_of_the_checks_rows(made):
    root, _ = made
    table = scores_of(root)
    numbers = json.loads((root / "metrics/infer.json").read_text())
    by_prompt = {}
    for row in table.rows:
        if row.set == "check" and row.arm == "made":
            by_prompt.setdefault(row.prompt_id, []).append(row.scores["red@1"])
    means = [sum(some) / len(some) for some in by_prompt.values()]
    found = numbers["made"]["red@1"]
    assert found["mean"] == pytest.approx(sum(means) / len(means), rel=1e-5)
    assert found["low"] < found["mean"] < found["high"]
    assert (found["prompts"], found["images"]) == (4, 8)
    assert numbers["higher_is_better"] == {"red@1": 1, "dark@1": 0, "calm@1": 1}
    for column, sign in (("red@1", 1), ("dark@1", -1)):
        difference = numbers["made"][column]["mean"] - numbers["reference"][column]["mean"]
        assert numbers["gain"][column]["mean"] == pytest.approx(sign * difference, abs=2e-3)


def test_another_folder_gives_the_same_bytes(made, tmp_path):
    root, _ = made
    other = elsewhere(root, tmp_path / "there")
    run(other, QUIET)
    assert contents(other.root, *OUTPUTS) == contents(root, *OUTPUTS)


def test_the_record_gets_what_was_resolved(made):
    _, found = made
    assert found.device == "cpu"
    assert found.resolved["reference"] == {"model": "models/tiny", "steps": 3, "guidance": 2.0}
    assert found.model["name"] == "models/tiny"
    assert found.model["made"]["fingerprint"].startswith(found.model["fingerprint"] + "+")
    assert "step 40 at scale 0.75: red@1" in found.said


def test_another_gallery_keeps_the_evidence(made, tmp_path):
    root, _ = made
    other = elsewhere(root, tmp_path / "there")
    params(other.root, prompt="a purple circle", infer_seed=77, number_images=1)
    run(Project.open(other.root), QUIET)
    assert (other.root / "metrics/infer.json").read_text() == (
        root / "metrics/infer.json"
    ).read_text()
    gallery = [row for row in scores_of(other.root).rows if row.set == "gallery"]
    assert [(row.prompt, row.seed) for row in gallery] == 2 * [("a purple circle", 77)]


def test_settings_of_infer_are_those_of_both_arms(project):
    params(project, guidance=1.0, steps=2, scheduler="ddim", number_images=1, check_seeds=1)
    found = run(Project.open(project), QUIET)
    for arm in ("made", "reference"):
        assert found.resolved[arm]["steps"] == 2
        assert found.resolved[arm]["guidance"] == 1.0
        assert found.resolved[arm]["scheduler"] == "ddim"


def test_prompts_that_took_part_in_the_choice_are_refused_by_name(project):
    seen = {Block(prompt=text, seed=0).prompt_id: "it was trained" for text in CHECKED[:2]}
    write_adapter(project, seen=seen)
    with pytest.raises(ConfigError) as caught:
        run(Project.open(project), QUIET)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        repr(text) for text in CHECKED[:2]
    ]
    assert not (project / "images").exists()


def test_a_score_that_is_missing_stops_it_and_leaves_what_was_there(project):
    params(project, number_images=1, check_seeds=1)
    run(Project.open(project), QUIET)
    before = contents(project, *OUTPUTS)
    params(project, number_images=1, check_seeds=1, scorers=["project_tone:Blind"])
    with pytest.raises(StudyError, match=r"(?s)10 scores are missing.*no score in red@1.*and 5"):
        run(Project.open(project), QUIET)
    assert contents(project, *OUTPUTS) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "stage select makes it"),
        (b"{", "cannot be read"),
        (b'{"format": 2}', "not of format 1"),
        (b'{"format": 1, "recipe": {"steps": 0}}', "steps"),
        (b'{"format": 1, "recipe": {}}', "damaged"),
    ],
)
def test_a_damaged_adapter_is_said_in_one_line(project, content, said):
    path = project / "adapter/adapter.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        run(Project.open(project), QUIET)


def test_an_adapter_without_weights_is_a_clear_error(project):
    (project / "adapter/pytorch_lora_weights.safetensors").unlink()
    with pytest.raises(StudyError, match=r"11 of 22 pictures(.|\n)*no such file"):
        run(Project.open(project), QUIET)


def test_an_unknown_scorer_is_named(project):
    params(project, scorers=["project_tone:Nobody"])
    with pytest.raises(LookupError, match="Nobody"):
        run(Project.open(project), QUIET)
