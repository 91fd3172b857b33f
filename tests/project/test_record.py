"""Lock records: they say what was read and made, survive a round trip and refuse damage."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from teststrip.errors import ConfigError, StorageError
from teststrip.project import machine, record
from teststrip.project.project import Project
from teststrip.project.record import Record

PARAMS = {
    "kind": "dreambooth",
    "train": {"instance_prompt": "a zwx alien", "steps": 7},
    "infer": {"prompt": "a zwx alien"},
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (tmp_path / "data/prepared").mkdir(parents=True)
    (tmp_path / "data/prepared/a.png").write_bytes(b"a")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/prepare.json").write_text("{}")
    return Project.open(tmp_path)


def made(project: Project) -> Record:
    return Record.of(
        project,
        project.stage("prepare"),
        {"data/images/a.jpg": "0" * 64},
        resolved={"prepare.size": 64, "pair": (1, 2)},
        model={},
        device="",
        seconds=1.234,
    )


def test_a_record_survives_being_written_and_read(project: Project) -> None:
    found = made(project)
    path = project.path("locks/prepare.json")

    found.write(path)

    assert Record.read(path) == found
    assert Record.find(project, project.stage("prepare")) == found
    assert Record.find(project, project.stage("train")) is None
    assert Record.parse(path.read_bytes(), "HEAD:locks/prepare.json") == found
    assert found.outputs == {
        "data/prepared/a.png": hashlib.sha256(b"a").hexdigest(),
        "metrics/prepare.json": hashlib.sha256(b"{}").hexdigest(),
    }
    assert found.resolved == {"prepare.size": 64, "pair": [1, 2]}
    assert found.command == "teststrip project run prepare"
    assert found.seconds == 1.2


def test_a_stage_has_the_parameters_that_it_reads_and_no_other(project: Project) -> None:
    params = record.params_of(project.params, project.stage("prepare"))
    whole = record.params_of(project.params, project.stage("train"))

    assert params["prepare"] == {"size": "auto"}
    assert not any("steps" in key for key in params)  # another number of steps prepares nothing
    assert whole["train"]["steps"] == 7
    assert whole["train"]["learning_rate"] == "auto"  # as it was given


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "dictionary"),
        ('{"format": 2}', "format 2; this version of teststrip reads 1"),
        ('{"format": 1, "stage": "train"}', "inputs"),
    ],
)
def test_a_damaged_record_is_named_with_what_is_wrong(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "train.json").write_text(content)

    with pytest.raises(ConfigError, match=r"train\.json") as caught:
        Record.read(tmp_path / "train.json")

    assert said in str(caught.value)


def test_a_record_that_is_not_there_says_to_run_the_stage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run the stage first"):
        Record.read(tmp_path / "train.json")


def test_all_files_below_a_folder_are_hashed_but_not_what_others_left_there(tmp_path: Path) -> None:
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/deep/b").write_bytes(b"b")
    (tmp_path / "model/a").symlink_to("deep/b")  # DVC may link to its cache
    (tmp_path / "model/.DS_Store").write_bytes(b"x")
    (tmp_path / "model/dangling").symlink_to("nowhere")
    (tmp_path / "notes.json").write_bytes(b"n")

    found = record.hash_files(tmp_path, ("notes.json", "model", "not-there"))

    assert list(found) == ["model/a", "model/deep/b", "notes.json"]
    assert found["model/a"] == found["model/deep/b"] == hashlib.sha256(b"b").hexdigest()


def test_an_empty_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / "empty/deeper").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()

    assert record.missing(tmp_path, ("empty", "full", "none")) == ["empty", "none"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch(mode=0o000)

    with pytest.raises(StorageError, match="cannot be read"):
        record.file_sha256(tmp_path / "a")


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone: cannot be read"):
        record.file_sha256(tmp_path / "gone")


def git(root: Path, *words: str) -> None:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, env=os.environ | own)


def test_the_projects_commit_and_whether_people_changed_it_since(project: Project) -> None:
    before = machine.code_of(project.root)
    git(project.root, "init", "-q")
    unborn = machine.code_of(project.root)
    (project.root / "locks").mkdir()
    (project.root / "locks/prepare.json").write_text("{}")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "one")
    clean = machine.code_of(project.root)
    (project.root / "locks/prepare.json").write_text("[]")  # a run's own traces are no change
    (project.root / "metrics/prepare.json").write_text("[]")
    after_a_run = machine.code_of(project.root)
    with (project.root / "params.yaml").open("a") as file:
        file.write("# changed\n")
    dirty = machine.code_of(project.root)

    assert before["project_commit"] is unborn["project_commit"] is None
    assert before["project_dirty"] is None
    assert len(clean["project_commit"]) == 40
    assert clean["project_dirty"] is False
    assert after_a_run["project_dirty"] is False
    assert dirty["project_dirty"] is True
    assert len(dirty["source_sha256"]) == 64


def test_a_machine_says_what_changes_bytes(tmp_path: Path) -> None:
    here = machine.environment()
    other = json.loads(json.dumps(here))
    other["platform"], other["threads"] = "another kernel", 64
    same = machine.differs(other, here)
    other["cpu"], other["packages"]["torch"] = "Z80", "0.1"

    assert same == []
    assert here["packages"]["torch"]
    assert here["cpu"]
    assert machine.differs(other, here) == [
        f"cpu Z80, now {here['cpu']}",
        f"torch 0.1, now {here['packages']['torch']}",
    ]


def test_a_device_is_kept_as_a_stage_says_it() -> None:
    assert machine.device_of("") == {}
    assert machine.device_of("cpu") == {"name": "cpu"}
    assert machine.device_of("cuda:7 (Some Card)") == {"name": "cuda:7", "card": "Some Card"}
