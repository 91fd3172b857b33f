"""A small project under the real DVC: what runs again, experiments, diffs, push, clone, pull."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from teststrip.project.layout import STAGES
from teststrip.testing.commands import Commands
from teststrip.testing.s3_server import S3Server
from teststrip.testing.small_project import change, small_project

pytest.importorskip("dvc")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NAMES = [stage.name for stage in STAGES["dreambooth"]]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Commands:
    """A project after its first `dvc repro`, committed and pushed."""
    folder = small_project(tmp_path_factory.mktemp("ran") / "subject", endpoint=s3.address)
    commands = Commands(folder, settings=s3.env)
    commands.begin()
    commands.dvc("repro")
    commands.commit("First results")
    commands.dvc("push")
    return commands


@pytest.fixture
def here(ran: Commands, tmp_path: Path) -> Commands:
    """A copy of it to play with."""
    shutil.copytree(ran.folder, tmp_path / "subject", symlinks=True)
    return ran.at(tmp_path / "subject")


def stages_run(said: str) -> list[str]:
    """Names of the stages that a `dvc repro` started."""
    marks = (line for line in said.splitlines() if line.startswith("Running stage '"))
    return [line.split("'")[1] for line in marks]


def test_everything_a_stage_writes_is_kept_and_nothing_else_is_left(here: Commands) -> None:
    for stage in STAGES["dreambooth"]:
        for name in (*stage.written, stage.lock):
            assert (here.folder / name).exists(), name

    kept = set(here.git("ls-files").split())
    notes = {name for stage in STAGES["dreambooth"] for name in (*stage.notes, stage.lock)}
    assert notes <= kept
    assert not [name for name in kept if name.split("/")[0] in ("model", "images", "work")]
    assert not here.git("status", "--porcelain")
    assert here.dvc_json("status") == {}


def test_a_second_repro_runs_nothing(here: Commands) -> None:
    said = here.dvc("repro")

    assert stages_run(said) == []
    assert "up to date" in said
    assert not here.git("status", "--porcelain")


def test_a_changed_parameter_runs_what_reads_it_and_what_follows(here: Commands) -> None:
    change(here.folder, "infer.infer_seed=7")

    said = here.dvc("repro")

    assert stages_run(said) == ["infer", "report"]
    seeds = {int(path.stem.rpartition("-")[2]) for path in (here.folder / "images/made").iterdir()}
    assert {7, 8} <= seeds
    diff = here.dvc_json("params", "diff")
    assert diff["params.yaml"]["infer.infer_seed"] == {"old": 0, "new": 7, "diff": 7}


@pytest.mark.parametrize(
    ("edit", "first"),
    [
        ("prepare.size=32", {"prepare"}),
        ("train.steps=6", {"train"}),
        ("select.top=2", {"select"}),
        ("infer.guidance=3.0", {"infer"}),
        ("report.confidence=0.9", {"report"}),
    ],
)
def test_each_section_is_read_by_the_stages_that_say_so(
    here: Commands, edit: str, first: set[str]
) -> None:
    change(here.folder, edit)

    status = here.dvc_json("status")

    changed = {
        name
        for name, what in status.items()
        if any("params.yaml" in entry.get("changed deps", {}) for entry in what)
    }
    assert changed == first


def test_a_changed_picture_runs_the_pipeline_from_its_start(here: Commands) -> None:
    gone = next((here.folder / "data/images").glob("*.png"))
    gone.unlink()

    assert "data/images" in here.dvc("status")
    here.dvc("add", "data/images")
    assert stages_run(here.dvc("repro", "--dry"))[0] == "prepare"


def test_an_experiment_with_another_learning_rate_has_other_numbers_and_pictures(
    here: Commands,
) -> None:
    before = json.loads((here.folder / "metrics/train.json").read_text())

    said = here.dvc("exp", "run", "--name", "fast", "-S", "train.learning_rate=0.02")

    assert stages_run(said) == NAMES[1:]  # prepare reads nothing of it
    assert yaml.safe_load((here.folder / "params.yaml").read_text())["train"]["learning_rate"] == (
        0.02
    )
    shown = here.dvc_json("exp", "show")
    assert "fast" in json.dumps(shown)
    diff = here.dvc_json("metrics", "diff", "HEAD", "fast")
    loss = diff.get("diff", diff)
    assert loss["metrics/train.json"]["val_loss.last"]["old"] == before["val_loss"]["last"]
    assert loss["metrics/train.json"]["val_loss.last"]["diff"] != 0

    here.dvc("plots", "diff", "HEAD", "fast", "--out", "shown")

    html = (here.folder / "shown/index.html").read_text()
    pictures = {path.name for path in (here.folder / "shown/static").iterdir()}
    for name in ("images_made", "plots_contact-sheet.png"):
        for revision in ("HEAD", "fast"):
            assert any(p.startswith(revision) and name in p for p in pictures), (name, pictures)
    assert all(picture in html for picture in pictures)
    assert "val_loss" in html


def test_a_clone_elsewhere_pulls_and_has_nothing_to_do(
    ran: Commands, s3: S3Server, tmp_path: Path
) -> None:
    keys = s3.keys()
    clone = Commands(tmp_path / "clone", home=tmp_path / "other-home", settings=s3.env)
    ran.git("clone", "--quiet", str(ran.folder), str(clone.folder))

    clone.dvc("pull")

    assert stages_run(clone.dvc("repro")) == []
    assert clone.dvc_json("status") == {}
    assert not clone.git("status", "--porcelain")
    verified = clone.teststrip("project", "verify", "--quick")
    assert verified.code == 0, verified
    report = clone.teststrip("project", "doctor")
    assert report.code == 0, report
    assert "pass  pushed" in report.out
    assert s3.keys() == keys


def test_a_clone_runs_a_later_stage_with_what_it_pulled_alone(
    ran: Commands, s3: S3Server, tmp_path: Path
) -> None:
    clone = Commands(tmp_path / "clone", home=tmp_path / "other-home", settings=s3.env)
    ran.git("clone", "--quiet", str(ran.folder), str(clone.folder))
    clone.dvc("pull")

    said = clone.dvc("repro", "--force", "--single-item", "select")

    assert stages_run(said) == ["select"]
    changed = clone.git("status", "--porcelain").split()
    assert changed in ([], ["M", "locks/select.json"], ["M", "dvc.lock", "M", "locks/select.json"])
    assert clone.git("diff", "--stat", "metrics") == ""
