"""No number that is none ever reaches the weights or a file."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from teststrip.train.checkpoints import checkpoints
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.guard import Guard
from teststrip.train.run import start

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., TrainConfig]
NAN = float("nan")


def test_three_bad_steps_are_skipped_the_fourth_goes_back_once_then_it_stops() -> None:
    guard = Guard()
    assert guard.look(0.1, 1.0) == "go"
    assert [guard.look(NAN, 1.0) for _ in range(4)] == ["skip"] * 3 + ["roll back"]
    assert guard.rate == 0.5
    assert [guard.look(0.1, math.inf) for _ in range(4)] == ["skip"] * 3 + ["stop"]


def test_good_steps_between_bad_ones_count() -> None:
    guard = Guard()
    for _ in range(10):
        assert [guard.look(NAN, NAN) for _ in range(3)] == ["skip"] * 3
        assert guard.look(0.1, 1.0) == "go"


def test_a_loss_far_above_that_of_no_answer_is_bad() -> None:
    guard = Guard()
    assert guard.look(0.1, 1.0) == "go"
    assert guard.look(19.0, 1.0) == "go"
    assert guard.look(21.0, 1.0) == "skip"


def test_fp16_finds_its_scale_without_a_fault() -> None:
    guard = Guard(scale=2.0**16)
    assert [guard.look(0.1, math.inf) for _ in range(10)] == ["skip"] * 10
    assert guard.scale == 2.0**6
    assert not guard.rolled_back
    for _ in range(2000):
        assert guard.look(0.1, 1.0) == "go"
    assert guard.scale == 2.0**7


def test_weights_that_the_held_out_loss_finds_broken_end_a_run_at_once(
    tmp_path: Path, config: Make
) -> None:
    made = config(steps=3, optimizer={"lr": 1e30}, every={"checkpoint": 3, "held_out": 1})
    result = start(made, tmp_path, track=False, device="cpu")
    assert (result.state, result.steps) == ("failed", 1)
    assert "held-out loss" in result.why
    assert not checkpoints(result.folder)


def test_a_learning_rate_of_1000_ends_failed_and_leaves_nothing_broken(
    tmp_path: Path, config: Make
) -> None:
    made = config(steps=60, optimizer={"lr": 1e3}, every={"checkpoint": 5, "held_out": 5})
    result = start(made, tmp_path, track=False, device="cpu")
    assert result.state == "failed"
    assert "learning rate" in result.why
    assert "try optimizer.lr" in result.why
    assert RunFolder(result.folder).read()["state"] == "failed"
    files = list(result.folder.rglob("*.safetensors"))
    for file in files:
        assert all(torch.isfinite(t.float()).all() for t in load_file(file).values()), file
    assert not [p for p in result.folder.rglob(".*") if p.is_dir()]


def test_one_bad_batch_is_skipped_and_never_reaches_the_weights(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teststrip.train import loop

    real, steps = loop.micro_step, []

    def sometimes_broken(*args: object) -> torch.Tensor:
        steps.append(args[-1])
        return real(*args) * (NAN if args[-1] == 2 else 1.0)

    monkeypatch.setattr(loop, "micro_step", sometimes_broken)
    result = start(config(steps=6), tmp_path, track=False, device="cpu")
    assert (result.state, result.skipped, steps) == ("finished", 1, list(range(6)))
    assert all(
        torch.isfinite(t).all() for t in load_file(checkpoints(result.folder)[-1].weights).values()
    )


def test_a_run_that_breaks_for_good_goes_back_and_then_stops(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teststrip.train import loop

    real, events = loop.micro_step, []
    monkeypatch.setattr(
        loop, "micro_step", lambda *args: real(*args) * (NAN if args[-1] >= 4 else 1.0)
    )
    result = start(config(steps=20), tmp_path, track=False, device="cpu", on_event=events.append)
    assert result.state == "failed"
    went_back = [e for e in events if e.kind == "rolled_back"]
    assert [e.step for e in went_back] == [4]
    assert [c.step for c in checkpoints(result.folder)] == [2, 4, 6]
