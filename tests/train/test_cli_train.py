"""`train run` and `train resume`: what they print, and one clear message for each wrong input."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from teststrip.cli.main import main
from teststrip.train.config import TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., TrainConfig]


@pytest.fixture
def file(tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`file(steps=3)`: a training file; TESTSTRIP_HOME is beside it."""
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESTSTRIP_DEVICE", "cpu")

    def write(**changes: object) -> str:
        path = tmp_path / "run.yaml"
        given = config(**changes).model_dump(mode="json", exclude_unset=True)
        path.write_text(yaml.safe_dump(given), encoding="utf-8")
        return str(path)

    return write


def test_run_then_resume(
    tmp_path: Path, file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(steps=2)
    assert main(["train", "run", path, "--no-track"]) == 0
    said = capsys.readouterr().out
    assert "run: finished at step 2, 4 pictures seen" in said
    assert "teststrip train select run" in said
    kept = tmp_path / "home" / "runs" / "run" / "train.yaml"
    assert kept.read_text() == Path(path).read_text()
    assert main(["train", "resume", "run", "--json", "--no-track"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"


def test_a_run_that_diverges_exits_1_with_what_to_try(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(steps=40)
    changes = ["--set", "optimizer.lr=1000", "--no-track", "--quiet", "--json"]
    assert main(["train", "run", path, *changes]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "failed"
    assert "try optimizer.lr" in said["why"]


def test_every_fault_of_a_file_is_told_at_once(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = file()
    changes = ["lora.rank=0", "lroa.rank=1", "batch=0", "precision=fp8"]
    flags = [word for change in changes for word in ("--set", change)]
    assert main(["train", "run", path, *flags, "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["error"]["faults"]
    for word in ("lora.rank", "lroa", "batch", "precision"):
        assert any(fault.startswith(word) for fault in faults), (word, faults)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "resume", "nothing"], 1, "no training run 'nothing'"),
        (["train", "run", "nothing.yaml"], 2, "no such file"),
        (["train", "run"], 2, "Missing argument"),
    ],
)
def test_wrong_use(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path))
    assert main(arguments) == code
    assert words in capsys.readouterr().err


def test_a_model_that_is_none_is_one_message(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = file(base=str(tmp_path / "missing" / "x"))
    assert main(["train", "run", path, "--no-track"]) == 2
    assert "no such folder" in capsys.readouterr().err
