"""Stopped, killed or asked to stop: what comes after is what would have come anyway."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from teststrip.errors import ConfigError, StorageError
from teststrip.train.checkpoints import checkpoints, read_state
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.result import Event
from teststrip.train.run import start

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., TrainConfig]


def same_state(one: Path, other: Path) -> bool:
    (a, numbers_a), (b, numbers_b) = (read_state(checkpoints(f)[-1]) for f in (one, other))
    assert numbers_a == numbers_b
    assert {f: set(t) for f, t in a.items()} == {f: set(t) for f, t in b.items()}
    return all(torch.equal(t, b[file][name]) for file, own in a.items() for name, t in own.items())


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(r["step"], r["loss"]) for r in map(json.loads, lines) if "loss" in r]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.9, "lora": {"dropout": 0.3}, "accumulate": 2, "rate": {"name": "cosine"}},
        {"optimizer": {"name": "prodigy", "lr": 1.0}},
        {"optimizer": {"name": "adamw8bit"}, "lora": {"text_encoder": True}},
        {"precision": "bf16", "every": {"log": 3, "held_out": 9, "checkpoint": 4}},
    ],
    ids=["adamw", "ema", "prodigy", "8bit", "bf16"],
)
def test_resumed_is_straight_bit_for_bit(tmp_path: Path, config: Make, changes: dict) -> None:
    rare = {"every": {"log": 1, "held_out": 10, "checkpoint": 10}}
    made = config(steps=6, **rare | changes)
    straight = start(made, tmp_path / "a", track=False, device="cpu")
    steps = []
    stopped = start(
        made,
        tmp_path / "b",
        track=False,
        device="cpu",
        on_event=lambda e: steps.append(e.step) if e.kind == "step" else None,
        should_stop=lambda: len(steps) >= 2,
    )
    assert stopped.state == "stopped"
    assert stopped.steps == 3
    resumed = start(made, tmp_path / "b", track=False, device="cpu")
    assert resumed.state == "finished"
    assert same_state(straight.folder, resumed.folder)
    assert losses(straight.folder) == losses(resumed.folder)


@pytest.mark.parametrize("moment", ["step 5", "checkpoint 3", "held_out 3"])
def test_killed_by_the_kernel_it_goes_on_from_the_checkpoint(
    tmp_path: Path, config: Make, moment: str
) -> None:
    made = config(steps=7, every={"checkpoint": 3, "held_out": 3, "log": 1})
    straight = start(made, tmp_path / "a", track=False, device="cpu")

    def die(event: Event) -> None:
        if f"{event.kind} {event.step}" == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            start(made, tmp_path / "b", track=False, device="cpu", on_event=die)
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    folder = RunFolder.of(tmp_path / "b", "run")
    assert folder.read()["state"] == "running"
    assert folder.holder() is None
    resumed = start(made, tmp_path / "b", track=False, device="cpu")
    assert same_state(straight.folder, resumed.folder)
    assert losses(straight.folder) == losses(resumed.folder)


def test_a_full_disk_ends_the_run_and_loses_no_checkpoint(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teststrip.train import checkpoints as module

    straight = start(config(), tmp_path / "a", track=False, device="cpu")
    real = module._write

    def full(path: Path, text: str) -> None:
        if ".000004-part" in str(path):
            raise OSError(28, "No space left on device")
        real(path, text)

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(StorageError, match="the disk is full"):
        start(config(), tmp_path / "b", track=False, device="cpu")
    folder = RunFolder.of(tmp_path / "b", "run")
    assert folder.read()["state"] == "failed"
    assert "the disk is full" in folder.read()["why"]
    assert [p.name for p in folder.checkpoints.iterdir()] == ["000002"]
    monkeypatch.undo()
    resumed = start(config(), tmp_path / "b", track=False, device="cpu")
    assert same_state(straight.folder, resumed.folder)


@pytest.mark.slow
def test_killed_at_once_it_goes_on_from_the_checkpoint(tmp_path: Path, config: Make) -> None:
    made = config(steps=12, every={"checkpoint": 3, "held_out": 50, "log": 1})
    straight = start(made, tmp_path / "a", track=False, device="cpu")
    home = tmp_path / "b"
    (tmp_path / "config.json").write_text(made.model_dump_json())
    script = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from teststrip.train.config import TrainConfig; from teststrip.train.run import start\n"
        "made = TrainConfig.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "start(made, Path(sys.argv[2]), track=False, device='cpu')\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "config.json"), str(home)]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    folder = RunFolder.of(home, "run")
    while not checkpoints(folder.path) and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert folder.read()["state"] == "running"
    assert folder.holder() is None
    with folder.metrics.open("ab") as file:
        file.write(b'{"step": 7, "lo')
    resumed = start(made, home, track=False, device="cpu")
    assert resumed.state == "finished"
    assert same_state(straight.folder, resumed.folder)
    assert losses(straight.folder) == losses(resumed.folder)


def test_a_stop_file_stops_with_a_checkpoint(tmp_path: Path, config: Make) -> None:
    folder = RunFolder.of(tmp_path, "run")
    result = start(
        config(steps=50, every={"checkpoint": 50, "held_out": 50}),
        tmp_path,
        track=False,
        device="cpu",
        on_event=lambda e: (
            folder.ask_to_stop("a test") if (e.kind, e.step) == ("step", 5) else None
        ),
    )
    assert result.state == "stopped"
    assert "a test" in result.why
    assert folder.read()["state"] == "stopped"
    assert [c.step for c in checkpoints(folder.path)] == [result.steps]


def test_other_pictures_under_the_same_name_are_refused(
    tmp_path: Path, config: Make, pictures: Path
) -> None:
    import shutil

    own = shutil.copytree(pictures, tmp_path / "own")
    made = config(data={"source": str(own)}, steps=6)
    seen: list[str] = []
    start(
        made, tmp_path, track=False, device="cpu",
        on_event=lambda e: seen.append(e.kind), should_stop=lambda: "step" in seen,
    )  # fmt: skip
    (own / "00.png").write_bytes((own / "02.png").read_bytes())
    with pytest.raises(ConfigError):
        start(made, tmp_path, track=False, device="cpu")


def test_another_base_model_under_the_same_path_is_refused(tmp_path: Path, config: Make) -> None:
    from teststrip.testing.tiny import tiny_pipeline

    base = tiny_pipeline(tmp_path / "base", seed=1)
    made = config(base=str(base), steps=6)
    seen: list[str] = []
    start(
        made, tmp_path, track=False, device="cpu",
        on_event=lambda e: seen.append(e.kind), should_stop=lambda: "step" in seen,
    )  # fmt: skip
    tiny_pipeline(base, seed=2)
    with pytest.raises(ConfigError, match="other weights"):
        start(made, tmp_path, track=False, device="cpu")
