"""What goes wrong in a user's hands: a clear message, a state that is whole, and it goes on."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from teststrip.testing.between import Between
from teststrip.testing.commands import DVC, Answer, Commands
from teststrip.testing.own_process import PATIENCE_S
from teststrip.testing.s3_server import S3Server
from teststrip.testing.small_project import change, small_project

pytest.importorskip("dvc")
FEW_TRIES = {"AWS_MAX_ATTEMPTS": "1"}


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project, committed; only its pictures are there to be pushed."""
    folder = small_project(tmp_path_factory.mktemp("subject") / "subject")
    Commands(folder).begin()
    return folder


@pytest.fixture
def here(subject: Path, tmp_path: Path) -> Commands:
    """A copy of it."""
    return Commands(shutil.copytree(subject, tmp_path / "subject", symlinks=True))


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        yield server


def is_clear(answer: Answer, *words: str) -> None:
    """A user's mistake: it failed, said these words, and showed no traceback."""
    assert answer.code != 0
    assert "Traceback" not in answer.said
    for word in words:
        assert word in answer.said, answer


def test_without_git_dvc_says_so_and_stages_still_run(tmp_path: Path) -> None:
    here = Commands(small_project(tmp_path / "subject"))
    here.env["GIT_CEILING_DIRECTORIES"] = str(tmp_path)

    is_clear(here.run(*DVC, "repro"), "is not a git repository")
    ran = here.teststrip("project", "run", "prepare", "--quiet")

    assert ran.code == 0, ran
    code = json.loads((here.folder / "locks/prepare.json").read_text())["code"]
    assert code["project_commit"] is None
    is_clear(here.teststrip("project", "doctor", "--offline"), "git init")
    is_clear(here.teststrip("project", "report", "--base", "main"), "git")


def test_a_dirty_project_runs_and_its_record_says_so(here: Commands) -> None:
    change(here.folder, "prepare.size=32", "train.image_size=32")

    here.dvc("repro", "prepare")

    code = json.loads((here.folder / "locks/prepare.json").read_text())["code"]
    assert code["project_dirty"] is True
    assert code["project_commit"] == here.git("rev-parse", "HEAD").strip()


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (("train.steps=many", "prepare.size=[1, 2]"), ("train.steps", "prepare.size", "many")),
        (("train.learning_rat=0.1",), ("train.learning_rat", "unknown key")),
        (("kind=video",), ("kind", "video", "dreambooth")),
        (("infer=3",), ("infer",)),
        (("infer.prompt=null",), ("infer.prompt",)),
    ],
)
def test_parameters_of_the_wrong_type_stop_the_stage_before_it_writes(
    here: Commands, edits: tuple[str, ...], words: tuple[str, ...]
) -> None:
    change(here.folder, *edits)

    answer = here.teststrip("project", "run", "prepare", "--quiet")

    is_clear(answer, "params.yaml", *words)
    assert answer.code == 2
    assert not (here.folder / "data/prepared").exists()
    assert not (here.folder / "locks").exists()


@pytest.mark.parametrize("text", ["", "kind: [", "- 1\n- 2\n", "7", "\x00"])
def test_a_params_file_that_is_none_is_said(here: Commands, text: str) -> None:
    (here.folder / "params.yaml").write_text(text)

    answer = here.teststrip("project", "run", "prepare", "--quiet")

    is_clear(answer, "params.yaml")
    assert answer.code == 2


@pytest.mark.slow
def test_dvc_stops_at_wrong_parameters_and_goes_on_when_they_are_mended(here: Commands) -> None:
    right = (here.folder / "params.yaml").read_text()
    change(here.folder, "prepare.size=big")
    is_clear(here.run(*DVC, "repro", "prepare"), "prepare.size", "big", "failed to reproduce")
    assert not (here.folder / "dvc.lock").exists()

    (here.folder / "params.yaml").write_text(right)
    here.dvc("repro", "prepare")

    assert json.loads((here.folder / "metrics/prepare.json").read_text())["pictures"] == 20


def test_no_remote_is_said_with_the_command_that_names_one(here: Commands) -> None:
    here.dvc("remote", "remove", "storage")

    is_clear(here.run(*DVC, "push"), "no remote specified", "dvc remote add -d")
    assert "dvc remote add -d" in here.teststrip("project", "doctor").out


@pytest.mark.slow
def test_a_wrong_secret_changes_nothing_and_the_right_one_pushes(
    here: Commands, s3: S3Server
) -> None:
    aim_at(here, s3.address)
    here.env |= s3.env | FEW_TRIES | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}

    is_clear(here.run(*DVC, "push"), "Forbidden")
    doctor = here.teststrip("project", "doctor")
    is_clear(doctor, "the secret key is wrong", "AWS_SECRET_ACCESS_KEY")
    assert "not-the-secret" not in doctor.said
    assert s3.keys() == []

    here.env |= s3.env
    here.dvc("push")
    assert set(s3.keys()) == pushed(here)


@pytest.mark.slow
def test_a_remote_that_goes_down_in_the_middle_of_a_push_loses_nothing(
    here: Commands, s3: S3Server, tmp_path: Path
) -> None:
    between = Between(s3.address, keeps_host=True)
    try:
        came: list[str] = []

        def fault(method: str, path: str) -> str | None:
            came.extend([path] if method == "PUT" else [])
            return "cut" if len(came) > 5 else None

        between.fault = fault
        aim_at(here, between.address)
        here.env |= s3.env | FEW_TRIES
        before = here.git("status", "--porcelain")

        is_clear(here.run(*DVC, "push"), "failed to push data", "closed")

        assert len(s3.keys()) == 5
        lists = [key for key in s3.keys() if key.endswith(".dir")]  # noqa: SIM118 - no mapping
        assert lists == [], "a list without its files"
        assert here.git("status", "--porcelain") == before
        is_clear(here.teststrip("project", "doctor"), "does not answer", "Nothing is lost")

        between.back()
        here.dvc("push")

        assert set(s3.keys()) == pushed(here)
        clone = Commands(tmp_path / "clone", home=tmp_path / "other", settings=here.env)
        here.git("commit", "--quiet", "--all", "--message", "The remote's address")
        here.git("clone", "--quiet", str(here.folder), str(clone.folder))
        clone.dvc("pull", "data/images.dvc")
        for path in (here.folder / "data/images").iterdir():
            assert (clone.folder / "data/images" / path.name).read_bytes() == path.read_bytes()
    finally:
        between.close()


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_push_is_filled_up_when_it_is_back(
    here: Commands, s3: S3Server
) -> None:
    between = Between(s3.address, keeps_host=True)
    try:
        came: list[str] = []

        def fault(method: str, path: str) -> None:
            came.extend([path] if method == "PUT" else [])
            if len(came) == 5:
                s3.kill()

        between.fault = fault
        aim_at(here, between.address)
        here.env |= s3.env | FEW_TRIES

        is_clear(here.run(*DVC, "push"), "failed to push data")
        s3.start()
        between.back()
        here.dvc("push")

        # The killed server may have left a part of an object under a name of its own beside them.
        assert pushed(here) <= set(s3.keys())
        assert here.dvc_json("status", "--cloud", "data/images.dvc") == {}
    finally:
        between.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_training_that_was_killed_goes_on_from_its_checkpoint(here: Commands) -> None:
    change(here.folder, "train.steps=8")
    here.commit("Eight steps")
    straight = here.at(shutil.copytree(here.folder, here.folder.with_name("straight")))

    killed_after_a_checkpoint(here)

    assert not (here.folder / "model").exists()
    assert not (here.folder / "metrics/train.json").exists()
    assert not (here.folder / "locks/train.json").exists()
    # DVC lost nothing either: it answers, and only what is not there is out of date.
    assert "train" in here.dvc_json("status")
    first = checkpoints(here.folder)[0]
    written = first.stat().st_mtime_ns, first.stat().st_ino

    here.dvc("repro", "train")

    assert (first.stat().st_mtime_ns, first.stat().st_ino) == written, "made a second time"
    straight.dvc("repro", "train")
    assert kept(here.folder) == kept(straight.folder), "not what an unbroken training makes"
    assert here.dvc_json("status", "train") == {}


def aim_at(here: Commands, address: str) -> None:
    """Set the remote's server, as `dvc remote modify storage endpointurl` does."""
    with (here.folder / ".dvc/config").open("a") as config:
        config.write(f"    endpointurl = {address}\n")


def pushed(here: Commands) -> set[str]:
    """What the remote must hold: 20 pictures and the list of them."""
    cache = here.folder / ".dvc/cache"
    names = {str(p.relative_to(cache)) for p in (cache / "files").rglob("*") if p.is_file()}
    assert len(names) == 21
    return names


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints of the training under way, the first one first."""
    return sorted((folder / "work/runs").glob("*/checkpoints/[0-9]*/checkpoint.json"))


def kept(folder: Path) -> dict[str, str]:
    """Every file of the model by its content."""
    files = [path for path in (folder / "model").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes().hex() for path in files}


def killed_after_a_checkpoint(here: Commands) -> None:
    """Start `dvc repro train` and kill -9 all of it as soon as one checkpoint is whole."""
    process = subprocess.Popen(
        [*DVC, "repro", "train"],
        cwd=here.folder,
        env=here.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 5 * PATIENCE_S
    while not checkpoints(here.folder):
        assert process.poll() is None, "it ended before a checkpoint was there"
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(checkpoints(here.folder)) < 4, "it had ended: nothing was broken off"
