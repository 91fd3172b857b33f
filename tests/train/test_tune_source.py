"""What Ray Tune is told and asked, without a cluster (those tests are slow: test_tune_ray.py)."""

from pathlib import Path

import pytest

from teststrip.errors import StudyError
from teststrip.train.tune.book import Book
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.folder import TuneFolder
from teststrip.train.tune.job import Measured, Outcome
from teststrip.train.tune.scene import Scene

on_ray = pytest.importorskip("teststrip.train.tune.on_ray")


class Driver:
    """A search's book and folder as `run` puts them together."""

    def __init__(self, home: Path, **changes) -> None:
        self.config = TuneConfig.model_validate(
            {
                "name": "grid",
                "train": {"base": "tiny", "data": "pictures", "steps": 24},
                "space": {"lora.rank": [1, 2, 4]},
                "design": "grid",
                "backend": "ray",
                "ray": {"retries": 1},
            }
            | changes
        )
        self.folder = TuneFolder(home / "tunes" / "grid")
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.told: list[Outcome] = []
        self.asked = False
        self.book = Book(self.config, self.folder.journal, higher_is_better=False)
        self.scene = Scene(
            self.config,
            self.folder,
            lambda config, report: 0.0,
            higher_is_better=False,
            is_asked_to_stop=lambda: self.asked,
            on_outcome=self.told.append,
        )
        self.source = on_ray._Source(self.scene, self.book)

    def ends(self, trial: str, job: dict, state: str = "finished") -> None:
        value = 0.5 if state == "finished" else None
        self.folder.keep(Outcome(job["name"], job["number"], state, value, point=job["point"]))
        self.source.on_trial_complete(trial, {}, error=state == "failed")


def test_a_trial_that_died_is_handed_out_again_and_then_given_up(tmp_path: Path):
    driver = Driver(tmp_path)
    jobs = {name: driver.source.suggest(name)["job"] for name in "abc"}

    driver.source.on_trial_complete("a", None, error=True)
    again = driver.source.suggest("d")["job"]
    driver.source.on_trial_complete("d", None, error=True)

    assert again == jobs["a"]
    (lost,) = driver.told
    assert (lost.state, lost.value) == ("failed", None)
    assert "died 2 times" in lost.why
    assert driver.source.suggest("e") is None  # b and c may still come back
    driver.ends("b", jobs["b"])
    driver.ends("c", jobs["c"], "failed")
    assert driver.source.suggest("f") == driver.source.FINISHED


def test_what_ended_before_a_crash_is_told_and_not_handed_out(tmp_path: Path):
    first = Driver(tmp_path)
    job = first.source.suggest("a")["job"]
    first.folder.keep(Outcome(job["name"], 0, "finished", 0.5))  # and then the driver is killed

    second = Driver(tmp_path)

    assert second.source.has_more()
    assert second.source.suggest("b")["job"]["number"] == 1
    assert [one.name for one in second.told] == [job["name"]]


def test_asked_to_stop_nothing_more_is_handed_out_and_nothing_is_told(tmp_path: Path):
    driver = Driver(tmp_path)
    driver.source.suggest("a")

    driver.asked = True
    assert driver.source.suggest("b") is None
    driver.source.on_trial_complete("a", None, error=True)

    assert driver.told == []
    assert driver.source.suggest("c") == driver.source.FINISHED
    assert Driver(tmp_path).source.suggest("d")["job"]["number"] == 0


def test_at_most_so_many_side_by_side(tmp_path: Path):
    driver = Driver(tmp_path, ray={"at_once": 2})

    found = [driver.source.suggest(name) for name in "abc"]

    assert [one is not None for one in found] == [True, True, False]


def test_a_fault_of_the_disk_in_a_worker_ends_the_search(tmp_path: Path):
    driver = Driver(tmp_path)
    job = driver.source.suggest("a")["job"]

    driver.folder.note_fault(job["name"], "the disk is full")
    driver.source.on_trial_complete("a", None, error=True)

    assert isinstance(driver.source.fault, StudyError)
    assert "the disk is full" in str(driver.source.fault)
    assert driver.folder.stop.exists()  # the other trials stop, too
    assert driver.source.suggest("b") == driver.source.FINISHED


def test_asha_asks_a_bad_trial_to_give_up_and_does_not_end_its_process(tmp_path: Path):
    driver = Driver(tmp_path, early_stop={"kind": "halving", "grace": 1, "eta": 2})
    scheduler = on_ray._scheduler(driver.scene)
    assert scheduler.set_search_properties("value", "min")
    verdicts = []

    for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.9)):
        job = driver.source.suggest(name)["job"]
        trial = type("Trial", (), {"trial_id": name, "config": {"job": job}})()
        scheduler.on_trial_add(None, trial)
        told = on_ray._reported(Measured(3, 1, value, {"p": value}))
        driver.source.on_trial_result(name, told)
        verdicts.append(scheduler.on_trial_result(None, trial, told))

    assert set(verdicts) == {"CONTINUE"}
    given_up = [driver.folder.is_pruned(f"grid-t{k:03d}") for k in range(3)]
    assert given_up == [False, True, True]
    values = [t.intermediate_values for t in driver.book.study.trials]
    assert values == [{1: 0.1}, {1: 0.2}, {1: 0.9}]
