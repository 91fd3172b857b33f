"""The chaos trial's judge sees each fault that it is there for."""

import importlib.util
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "benchmarks" / "service" / "chaos_jobs.py"
_spec = importlib.util.spec_from_file_location("chaos_jobs", JOBS)
chaos = importlib.util.module_from_spec(_spec)
sys.modules["chaos_jobs"] = chaos  # dataclasses look their module up
_spec.loader.exec_module(chaos)

NAME = "ab" * 16 + "0" * 24
KEY = NAME[:32]


@pytest.fixture
def done():
    """A job of two pictures that ended done, and all that lies in the store."""
    wish = {"prompt": "a mug", "recipe": {"steps": 4}, "seeds": [3, 5], "priority": "api"}
    job = chaos.Job("plain", wish, key="k", told={"id": NAME, "recipe": {"steps": 4}})
    job.end = {"state": "done", "images": [{"index": 0}, {"index": 1}]}
    objects = {f"{KEY}/{k}.png": data for k, data in enumerate(job.pictures())}
    return job, objects | {f"{KEY}/job.json": b"{}"}


def faults(job, objects):
    return {
        name.removeprefix("fault: ") for name in chaos.judge([job], objects) if "fault:" in name
    }


def test_what_is_right_has_no_fault(done):
    job, objects = done

    assert chaos.judge([job], objects) == {"accepted": 1, "done": 1}


def test_pictures_that_are_missing_changed_or_of_another_seed(done):
    job, objects = done
    first, second = (objects[f"{KEY}/{k}.png"] for k in range(2))

    assert faults(job, {k: v for k, v in objects.items() if k != f"{KEY}/1.png"}) == {
        "done, and a picture is missing"
    }
    wrong = {"a picture with other bytes than its seed's"}
    assert faults(job, objects | {f"{KEY}/0.png": first[:-1] + b"x"}) == wrong
    assert faults(job, objects | {f"{KEY}/0.png": second}) == wrong


def test_a_picture_too_many_and_a_last_record_too_few(done):
    job, objects = done

    assert faults(job, objects | {f"{KEY}/2.png": b""}) == {"objects of no accepted job"}
    del objects[f"{KEY}/job.json"]
    assert faults(job, objects) == {"ended without its last record in the store"}


@pytest.mark.parametrize(
    ("kind", "end", "fault"),
    [
        ("plain", None, "stuck"),
        ("plain", {"state": "failed", "reason": "a bug"}, "a plain job ended failed"),
        ("plain", {"state": "cancelled"}, "a plain job ended cancelled"),
        ("poison", {"state": "done", "images": [{"index": 0}, {"index": 1}]}, "a poison job"),
        ("poison", {"state": "failed", "reason": "a bug"}, "a poison job failed for another"),
        ("fault", {"state": "failed", "reason": None}, "failed without a reason"),
        ("plain", {"state": "done", "images": [{"index": 0}]}, "not all pictures are told"),
    ],
)
def test_ends_that_are_not_right(done, kind, end, fault):
    job, objects = done
    job.kind, job.end = kind, end

    assert any(fault in found for found in faults(job, objects))


def test_a_job_told_as_cancelled_is_made_only_where_redis_lost_that(done):
    job, objects = done
    job.kind, job.cancelled = "cancel", 100.0

    assert chaos.judge([job], objects, lost=101.0)["revived"] == 1
    assert faults(job, objects) == {"told as cancelled, and made"}


def test_a_job_whose_workers_were_all_killed_may_fail_with_that_reason(done):
    job, objects = done
    job.end = {"state": "failed", "reason": "the worker died 4 times while making it"}

    assert faults(job, objects) == set()


def test_all_kinds_are_planned_and_the_same_seed_plans_the_same():
    jobs = chaos.planned(500, seed=1)

    kinds = [job.kind for job in jobs]
    counts = {kind: kinds.count(kind) for kind in ("poison", "fault", "cancel", "plain")}
    assert counts == {"poison": 3, "fault": 10, "cancel": 20, "plain": 467}
    assert [job.wish for job in chaos.planned(500, seed=1)] == [job.wish for job in jobs]
