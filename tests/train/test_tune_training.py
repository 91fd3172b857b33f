"""A search over real trainings of the tiny model, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from teststrip.train.checkpoints import checkpoints
from teststrip.train.config import TrainConfig
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.folder import TuneFolder
from teststrip.wire.tuning import tune


@pytest.fixture
def search(config: Callable[..., TrainConfig]) -> Callable[..., TuneConfig]:
    def make(**changes: Any) -> TuneConfig:
        train = config(lora={"rank": 2}).model_dump(mode="json", exclude_defaults=True)
        data = {
            "name": "lr",
            "train": train,
            "space": {"optimizer.lr": [1e-3, 1e30]},
            "design": "grid",
            "samples": 8,
            "measure": 2,
            "early_stop": "none",
            "repeat": {"top": 0},
        }
        return TuneConfig.model_validate(data | changes)

    return make


def test_a_grid_trains_each_and_a_diverging_rate_fails(search, tmp_path: Path):
    config = search(samples=40)

    report = tune(config, tmp_path, track=False, device="cpu")

    states = {one.point["optimizer.lr"]: one for one in report.trials}
    assert states[1e-3].state == "finished"
    assert len(states[1e-3].measured) == 2
    assert states[1e30].state == "failed"
    assert states[1e30].value is None
    assert "learning rate" in states[1e30].why
    best = yaml.safe_load((tmp_path / "tunes/lr/best.yaml").read_text())
    assert TrainConfig.model_validate(best).optimizer.lr == 1e-3


def test_a_loss_that_is_no_number_at_the_end_is_a_failure(search, tmp_path: Path):
    """The training itself tells it by its held-out loss."""
    report = tune(search(samples=8), tmp_path, track=False, device="cpu")

    assert {one.state for one in report.trials} == {"finished", "failed"}
    assert "no usable number" in str(report)


def test_nothing_is_trained_twice(search, tmp_path: Path):
    config = search(space={"optimizer.lr": [1e-3, 1e-4]})
    tune(config, tmp_path, track=False, device="cpu")
    weights = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")}
    folder = TuneFolder(tmp_path / "tunes" / "lr")
    (folder.path / "trials" / "lr-t001.json").unlink()  # killed before it was written
    folder.journal.unlink()

    report = tune(config, tmp_path, track=False, device="cpu")

    assert report.count("finished") == 2
    assert weights == {path: path.stat().st_mtime_ns for path in weights}


def test_a_trial_that_is_given_up_keeps_its_weights_and_says_why(search, tmp_path: Path):
    config = search(
        space={"optimizer.lr": [1e-3, 1e-4, 1e-5, 1e-6]},
        samples=16,
        measure=4,
        early_stop={"kind": "halving", "grace": 1, "eta": 2},
    )

    report = tune(config, tmp_path, track=False, device="cpu")

    pruned = [one for one in report.trials if one.state == "pruned"]
    assert pruned
    assert "given up by the search" in pruned[0].why
    assert checkpoints(tmp_path / "runs" / pruned[0].name)


def test_a_score_of_images_can_be_the_objective(search, tmp_path: Path, config):
    train = config(
        validation={
            "prompts": ["a red circle", "a blue square"],
            "seeds": [0],
            "recipe": {"steps": 2, "guidance": 1},
            "scorers": ["clip"],
        }
    ).model_dump(mode="json", exclude_defaults=True)
    made = search(
        train=train, objective="likeness", space={"lora.rank": [1, 2]}, samples=4, measure=1
    )

    report = tune(made, tmp_path, track=False, device="cpu")

    assert report.count("finished") == 2
    assert report.higher_is_better
    assert -1 <= report.best.value <= 1
    assert len(report.best.measured[-1].units) == 2


@pytest.mark.slow  # MLflow makes its tables
def test_trials_are_child_runs_of_the_search(search, tmp_path: Path):
    from mlflow import MlflowClient

    config = search(samples=40)

    tune(config, tmp_path, track=True, device="cpu")

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("teststrip")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if r.data.tags.get("teststrip.kind") == "tuning"]
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(r.info.status for r in children) == ["FAILED", "FINISHED"]
    assert parent.data.metrics["trials_failed"] == 1
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} >= {"report.md"}
