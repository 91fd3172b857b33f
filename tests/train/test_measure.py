"""Measures: what is written down while a run goes, and what is cut off when it goes on."""

import json
import math

import pytest
import torch

from teststrip.errors import StorageError
from teststrip.testing.small_trainer import opened
from teststrip.train.folder import RunFolder
from teststrip.train.measure import written
from teststrip.train.measure.measures import Measures
from teststrip.train.measure.memory import peak_memory_mb
from teststrip.train.measure.smoothing import Smooth
from teststrip.train.measure.standing import Standing

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path):
    place = RunFolder(tmp_path / "runs" / "run")
    place.path.mkdir(parents=True)
    place.write(state="running")
    return place


@pytest.fixture
def started(config, pictures, folder):
    """started(**changes): measures at step 0, without images."""

    def make(**changes):
        settings = config(**changes)
        measures = Measures(settings, folder.path)
        measures.start(*opened(settings, pictures))
        return measures

    return make


def test_a_constant_loss_stays_that_constant_from_the_first_value_on():
    smooth = Smooth()

    curve = [smooth.update(0.12) for _ in range(500)]

    assert curve == pytest.approx([0.12] * 500)


def test_the_classic_curve_starts_at_nothing_and_climbs():
    smooth = Smooth()
    smooth.update(0.12)
    assert smooth.classic == pytest.approx(0.0012)
    for _ in range(2000):
        smooth.update(0.12)
    assert smooth.classic == pytest.approx(0.12)


def test_the_curve_does_not_depend_on_how_often_it_is_logged():
    each, tenth = Smooth(), Smooth()
    for k in range(100):
        each.update(1.0 if k < 50 else 2.0)
    for k in range(10):
        tenth.update(1.0 if k < 5 else 2.0, steps=10)

    assert tenth.value == pytest.approx(each.value)


def test_a_smooth_without_values_is_no_number():
    assert math.isnan(Smooth().value)


def test_each_logged_step_is_a_line_with_the_moving_loss_and_memory(started, folder):
    measures = started()

    measures.log(1, {"loss": 0.5, "lr": 1e-3})
    measures.log(2, {"loss": float("nan"), "lr": 1e-3, "grad_norm": float("inf")})
    measures.log(3, {"loss": 0.5, "lr": 1e-3})

    lines = [row for row in written.rows_of(folder.metrics) if "lr" in row]
    assert [row["step"] for row in lines] == [1, 2, 3]
    assert lines[1]["loss"] is lines[1]["grad_norm"] is None
    assert "loss_ema" not in lines[1]
    assert lines[2]["loss_ema"] == pytest.approx(0.5)
    assert "loss_ema_classic" not in lines[2]
    assert all(row["memory_mb"] > 10 for row in lines)


def test_the_classic_curve_is_logged_where_it_is_asked_for(started, folder):
    measures = started(classic_ema=True)
    measures.log(1, {"loss": 0.5})
    (line,) = (row for row in written.rows_of(folder.metrics) if "loss" in row)
    assert line["loss_ema_classic"] == pytest.approx(0.005)


def test_the_held_out_loss_is_measured_at_the_start_and_once_for_each_step(started, folder):
    measures = started()
    torch.manual_seed(0)

    again = measures.held_out(0)
    later = measures.held_out(2)

    rows = written.rows_of(folder.held_out)
    assert [row["step"] for row in rows] == [0, 0, 0, 2, 2, 2]
    assert later == again  # nobody trained
    assert again == pytest.approx(sum(row["loss"] for row in rows[:3]) / 3)
    assert [r["val_loss"] for r in written.rows_of(folder.metrics) if "val_loss" in r] == [
        again,
        later,
    ]


def test_a_run_that_goes_on_cuts_off_what_came_later_and_torn_lines(
    started, folder, config, pictures
):
    measures = started()
    for step in (1, 2, 3, 4):
        measures.log(step, {"loss": float(step)})
        measures.held_out(step)
    with folder.metrics.open("ab") as file:
        file.write(b'{"step": 5, "lo')
    straight = Smooth()
    expected = [straight.update(float(step)) for step in (1, 2, 3)][-1]

    second = Measures(config(), folder.path)
    second.start(*opened(config(), pictures), step=2)
    second.log(3, {"loss": 3.0})

    rows = written.rows_of(folder.metrics)
    assert max(row["step"] for row in rows) == 3
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    assert rows[-1]["loss_ema"] == pytest.approx(expected)
    assert {row["step"] for row in written.rows_of(folder.held_out)} == {0, 1, 2}
    assert folder.metrics.read_bytes().endswith(b"}\n")


def test_going_back_measures_the_same_steps_again(started, folder):
    measures = started()
    measures.held_out(2)
    measures.rewind(1)

    measures.held_out(2)

    steps = [row["step"] for row in written.rows_of(folder.held_out)]
    assert steps == [0] * 3 + [2] * 3


def test_without_held_out_pictures_there_is_no_held_out_loss(config, pictures, folder):
    settings = config()
    model, examples, _ = opened(settings, pictures)
    measures = Measures(settings, folder.path)
    measures.start(model, examples, None)

    assert measures.held_out(2) is None
    assert not folder.held_out.exists()


def test_progress_says_how_far_it_is_and_never_a_number_that_is_none(started, folder):
    measures = started()
    measures.log(1, {"loss": float("nan"), "images_per_s": 3.5})
    measures.finish("failed", "the loss was not finite")

    told = json.loads(folder.progress.read_text())
    assert told["doing"] == "failed"
    assert (told["step"], told["steps"]) == (1, 4)
    assert told["loss"] is None
    assert told["images_per_s"] == 3.5
    assert told["val_loss"] > 0
    assert told["eta_s"] is None
    assert folder.read()["why"] == "the loss was not finite"
    assert folder.read()["state"] == "failed"


def test_the_time_left_follows_the_pace_since_the_run_went_on(tmp_path, monkeypatch):
    clock = iter(float(second) for second in range(100, 200, 2))
    monkeypatch.setattr("teststrip.train.measure.standing.time.monotonic", lambda: next(clock))
    standing = Standing(tmp_path / "progress.json", 100)
    standing.begin(40)
    assert standing.eta_s is None

    standing.reached(50)

    seconds = standing._marks[-1][0] - standing._marks[0][0]
    assert standing.eta_s == pytest.approx(50 * seconds / 10)


def test_a_full_disk_is_said_where_it_counts(started, monkeypatch):
    measures = started()

    def refuse(path, rows):
        raise StorageError(f"{path}: the disk is full; free some space and resume")

    monkeypatch.setattr(written, "append", refuse)
    with pytest.raises(StorageError, match="disk is full"):
        measures.log(1, {"loss": 0.5})


def test_memory_is_at_least_what_was_taken():
    before = peak_memory_mb()
    block = bytearray(64_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_memory_mb() >= max(before, 64)
