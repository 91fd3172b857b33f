"""`project run`: inputs checked, one run at a time, the record written last; what is up to date."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from teststrip.cli.main import main
from teststrip.cli.project_progress import progress
from teststrip.errors import ConfigError, StudyError
from teststrip.lock import FolderLock
from teststrip.project.record import Record
from teststrip.wire import stages
from teststrip.wire.project_run import open_project, run_stages, stale
from teststrip.wire.stages import Here, Made

PREPARED = {"data/prepared/a.png", "data/prepared/b.png", "metrics/prepare.json"}


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are kept in the project, whatever the machine's owner set."""
    monkeypatch.delenv("TESTSTRIP_HOME", raising=False)
    monkeypatch.delenv("RANK", raising=False)


def write_params(root: Path, **train: object) -> None:
    params = {
        "kind": "dreambooth",
        "prepare": {"size": 32},
        "train": {"instance_prompt": "a zwx alien"} | train,
        "infer": {"prompt": "a zwx alien"},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with two pictures; its first stage takes a moment and no model."""
    (tmp_path / "data/images").mkdir(parents=True)
    for name, color in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (48, 40), color).save(tmp_path / f"data/images/{name}.png")
    write_params(tmp_path)
    return tmp_path


def record_of(root: Path, name: str = "prepare") -> Record:
    return Record.read(root / f"locks/{name}.json")


def why(root: Path) -> str:
    project = open_project(root)
    return stale(project, project.stage("prepare"))


def test_a_stage_leaves_a_record_of_what_it_read_and_made(root: Path) -> None:
    ran = run_stages(root, ["prepare"])

    found = record_of(root)
    assert set(found.inputs) == {"data/images/a.png", "data/images/b.png"}
    assert set(found.outputs) == PREPARED
    assert found.resolved == {"prepare.size": 32}
    assert [(run.stage, run.outputs) for run in ran.ran] == [("prepare", 3)]
    assert "prepare: 3 files in" in str(ran)
    assert ran.as_dict()["ran"][0]["why"] == "named"
    assert not list((root / "locks").glob(".*"))


def test_a_stage_is_stale_by_parameters_inputs_outputs_and_code(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why(root) == "it has no lock record"
    run_stages(root, ["prepare"])
    assert why(root) == ""

    write_params(root, model_name="other/model")
    assert why(root) == "other parameters than its lock record says"
    write_params(root)
    assert why(root) == ""

    made = (root / "data/prepared/a.png").read_bytes()
    (root / "data/prepared/a.png").write_bytes(b"broken")
    assert why(root) == "other outputs than its lock record says"
    (root / "data/prepared/a.png").write_bytes(made)

    Image.new("RGB", (48, 40), "green").save(root / "data/images/c.png")
    assert why(root) == "other inputs than its lock record says"
    (root / "data/images/c.png").unlink()

    monkeypatch.setattr("teststrip.project.machine.source_sha256", lambda: "0" * 64)
    assert why(root) == "other code than its lock record says"

    (root / "locks/prepare.json").write_text("{")
    assert "not valid JSON" in why(root)


def test_inputs_that_are_missing_are_named_with_who_makes_them(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["project", "run", "infer", "--project", str(root)])

    said = capsys.readouterr().err
    assert code == 2
    assert "stage infer: 2 inputs are missing" in said
    assert "adapter: not there; stage select makes it: dvc repro, teststrip project run" in said
    assert "data/prompts.txt: not there; put it there, or fetch it: dvc pull" in said
    assert not (root / "locks").exists()


def test_all_stages_that_do_not_exist_are_named_at_once(root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run_stages(root, ["trian", "prepare", "infre"])

    assert len(caught.value.faults) == 2
    assert "prepare, train, select, infer, report" in caught.value.faults[0]


def test_two_runs_of_one_project_at_once_are_refused(root: Path) -> None:
    with (
        FolderLock(root / "work", "project").held(),
        pytest.raises(StudyError, match="being run by another process"),
    ):
        run_stages(root, ["prepare"])

    assert run_stages(root, ["prepare"]).ran


def test_a_folder_without_a_project_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["project", "run", "--project", str(tmp_path), "--json"]) == 2
    out = json.loads(capsys.readouterr().out)
    assert "teststrip project init DIR" in out["error"]["message"]


class Stage:
    """In the place of stage prepare: what a stage does wrong. The books must notice."""

    def __init__(self, root: Path, *, outputs: bool = True, meddles: bool = False) -> None:
        self.root, self.outputs, self.meddles = root, outputs, meddles
        self.seen: Here | None = None

    def __call__(self, project: stages.Project, here: Here) -> Made:
        self.seen = here
        if self.outputs:
            with project.replacing("data/prepared") as place:
                (place / "a.png").write_bytes(b"a")
        (self.root / "metrics").mkdir(exist_ok=True)
        (self.root / "metrics/prepare.json").write_text("{}")
        if self.meddles:
            (self.root / "data/images/a.png").write_bytes(b"other")
        return Made(device="cpu")


def test_a_stage_without_its_outputs_leaves_no_record(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teststrip.wire.project_run.find", lambda _: Stage(root, outputs=False))

    with pytest.raises(StudyError, match="prepare ended without data/prepared"):
        run_stages(root, ["prepare"])

    assert not (root / "locks/prepare.json").exists()


def test_inputs_that_are_changed_meanwhile_leave_no_record(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teststrip.wire.project_run.find", lambda _: Stage(root, meddles=True))

    with pytest.raises(StudyError, match="changed while it ran"):
        run_stages(root, ["prepare"])

    assert not (root / "locks/prepare.json").exists()


def test_of_several_processes_the_first_alone_keeps_the_books(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(root)
    monkeypatch.setattr("teststrip.wire.project_run.find", lambda _: stage)
    monkeypatch.setenv("RANK", "1")

    with FolderLock(root / "work", "project").held():  # by the first process
        assert run_stages(root, ["prepare"], track=False).ran == ()

    assert stage.seen is not None
    assert stage.seen.track is False
    assert not (root / "locks/prepare.json").exists()


def test_home_is_the_projects_own_unless_it_is_set(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_project(root).home == root / "work"
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "volume"))
    assert open_project(root).home == tmp_path / "volume"


def test_logs_get_a_line_a_minute_with_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("teststrip.cli.project_progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with progress(quiet=False) as show:
        for done in range(100):
            show("training", done, 200)
            now[0] += 1

    with progress(quiet=True) as show:
        now[0] += 1000
        show("training", 1, 2)

    assert capsys.readouterr().err == "training: 60/200  ETA 2:20\n"
