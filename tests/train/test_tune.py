"""A search over trainings: its file, its ledger, early stopping, repeats, what is concluded.

The stand-in here is a loss curve with known truth, for laws that need many trials; the real
trainings are in test_tune_training.py and test_tune_ray.py.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.train.config import TrainConfig
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.folder import TuneFolder
from teststrip.train.tune.job import Measured, Report, TrialFailed, TrialPruned, TrialStopped
from teststrip.train.tune.search import search

TRAIN = {"base": "tiny", "data": "pictures", "steps": 24, "batch": 4}
LR = {"float": [1e-5, 1e-1], "log": True}


def tune(**changes) -> TuneConfig:
    data = {"name": "lr", "train": TRAIN, "space": {"optimizer.lr": LR}, "trials": 6}
    return TuneConfig.model_validate(data | {"repeat": {"top": 0}} | changes)


@dataclass
class Curve:
    """Best at a learning rate of 1e-3; diverges above 1e-2; pictures differ more than trials."""

    config: TuneConfig
    seen: list[TrainConfig] = field(default_factory=list)
    stop_after: int | None = None
    noise: float = 0.0

    def __call__(self, config: TrainConfig, report: Report) -> float:
        self.seen.append(config)
        if self.stop_after is not None and len(self.seen) > self.stop_after:
            raise TrialStopped("Ctrl-C")
        lr = config.optimizer.lr
        if lr > 1e-2:
            raise TrialFailed(f"step 3: loss is not finite at learning rate {lr}")
        rng = np.random.default_rng([config.seed, int(lr * 1e9)])
        pictures = np.linspace(0.1, 0.9, 8)
        value = math.nan
        for index in range(1, self.config.measures + 1):
            level = 0.05 * (math.log10(lr) + 3) ** 2 + 0.2 / index
            losses = pictures + level + self.noise * rng.normal() + 0.001 * rng.normal(size=8)
            units = {f"p{k}": float(v) for k, v in enumerate(losses)}
            value = float(np.mean(losses))
            if not report(Measured(index * 3, index, value, units)):
                raise TrialPruned("behind")
        return value


def run(config: TuneConfig, home: Path, **changes):
    curve = Curve(config, **changes)
    return curve, search(config, home, curve)


def test_a_grid_runs_each_point_once_and_a_diverged_one_fails(tmp_path):
    config = tune(
        space={"optimizer.lr": [1e-4, 1e-3, 1e-1], "batch": [2, 4]},
        design="grid",
        trials=None,
        early_stop="none",
    )

    curve, report = run(config, tmp_path)

    assert len(curve.seen) == 6
    assert report.count("finished") == 4
    assert report.count("failed") == 2
    assert report.best.point["optimizer.lr"] == 1e-3
    assert all(one.value is None for one in report.trials if one.state == "failed")
    assert "learning rate 0.1" in str(report)


def test_every_trial_sees_the_same_samples_whatever_its_batch():
    config = tune(space={"batch": [1, 2, 8], "accumulate": [1, 3]}, design="grid", samples=96)

    for batch, accumulate in ((1, 1), (2, 3), (8, 1)):
        made = config.training({"batch": batch, "accumulate": accumulate}, "t")
        assert made.steps * batch * accumulate == 96
        assert math.ceil(made.steps / made.every.held_out) <= config.measure


def test_a_search_that_was_stopped_goes_on_with_the_same_points_and_repeats_nothing(tmp_path):
    config = tune(design="tpe", trials=12)
    whole, straight = run(config, tmp_path / "straight")

    first, stopped = run(config, tmp_path / "cut", stop_after=5)
    second, resumed = run(config, tmp_path / "cut")

    assert stopped.state == "stopped"
    assert len(first.seen) - 1 + len(second.seen) == 12
    rates = [one.optimizer.lr for one in whole.seen]
    assert [one.optimizer.lr for one in first.seen[:-1] + second.seen] == rates
    assert resumed.best.value == straight.best.value
    third, again = run(config, tmp_path / "cut")
    assert third.seen == []
    assert again.as_dict() == resumed.as_dict()


def test_an_outcome_that_was_written_but_not_told_is_not_run_again(tmp_path):
    """As after kill -9 between the end of a trial and Optuna's journal."""
    config = tune(design="random", trials=4)
    run(config, tmp_path)
    (TuneFolder(tmp_path / "tunes" / "lr").journal).unlink()

    curve, report = run(config, tmp_path)

    assert curve.seen == []
    assert report.count("finished") + report.count("pruned") + report.count("failed") == 4


def test_a_torn_journal_is_cut_back(tmp_path):
    config = tune(design="random", trials=4)
    run(config, tmp_path, stop_after=2)
    journal = TuneFolder(tmp_path / "tunes" / "lr").journal
    journal.write_bytes(journal.read_bytes()[:-7])

    _, report = run(config, tmp_path)

    assert len(report.trials) == 4


def test_nan_is_a_failed_trial_and_never_a_number(tmp_path):
    config = tune(space={"batch": [1, 2]}, design="grid")

    def objective(made: TrainConfig, report: Report) -> float:
        return math.nan if made.batch == 1 else 0.5

    report = search(config, tmp_path, objective)

    nan = next(one for one in report.trials if one.point["batch"] == 1)
    assert (nan.state, nan.value) == ("failed", None)
    assert report.best.point["batch"] == 2
    assert "NaN" not in (tmp_path / "tunes/lr/report.json").read_text()


def test_no_number_at_all_is_an_error_that_says_why(tmp_path):
    config = tune(design="random", trials=3)

    def objective(made: TrainConfig, report: Report) -> float:
        raise ConfigError(f"lr {made.optimizer.lr}: will not do")

    with pytest.raises(StudyError, match="none of 3 trials gave a number: lr"):
        search(config, tmp_path, objective)


def test_first_trials_that_fail_for_one_reason_end_the_search(tmp_path):
    config = tune(design="random", trials=50)
    seen = []

    def objective(made: TrainConfig, report: Report) -> float:
        seen.append(made)
        raise ConfigError("pictures: no such folder")

    with pytest.raises(StudyError, match="the others would, too: pictures: no such folder"):
        search(config, tmp_path, objective)
    assert len(seen) == 3


def test_a_full_disk_ends_the_search_and_the_trial_runs_again(tmp_path):
    config = tune(design="random", trials=2)

    def objective(made: TrainConfig, report: Report) -> float:
        raise StorageError("disk is full")

    with pytest.raises(StorageError):
        search(config, tmp_path, objective)
    curve, _ = run(config, tmp_path)
    assert len(curve.seen) == 2


def test_halving_gives_up_bad_trials_and_keeps_the_best(tmp_path):
    config = tune(design="random", trials=20, early_stop={"kind": "halving", "grace": 2})

    _, report = run(config, tmp_path)

    assert report.count("pruned") >= 5
    _, full = run(tune(name="all", design="random", trials=20, early_stop="none"), tmp_path)
    assert report.best.point == full.best.point
    assert all(len(one.measured) < 8 for one in report.trials if one.state == "pruned")


def test_wilcoxon_gives_up_what_is_worse_picture_by_picture(tmp_path):
    """Pictures differ by 0.8, trials by 0.05: only the pairing can see it."""
    config = tune(
        space={"optimizer.lr": [1e-3, 1e-4, 9e-4]},
        design="grid",
        trials=None,
        early_stop={"kind": "wilcoxon", "grace": 2, "p": 0.01},
    )

    _, report = run(config, tmp_path)

    states = {one.point["optimizer.lr"]: (one.state, len(one.measured)) for one in report.trials}
    assert states[1e-3] == ("finished", 8)
    assert states[1e-4] == ("pruned", 2)


def test_repeats_use_new_seeds_shared_by_the_best(tmp_path):
    config = tune(design="random", trials=6, repeat={"top": 2, "seeds": 3}, early_stop="none")

    curve, report = run(config, tmp_path, noise=0.01)

    extra = curve.seen[6:]
    assert len(extra) == 6
    assert len({one.seed for one in extra}) == 3
    assert config.base.seed not in {one.seed for one in extra}
    assert all(one.value.units == 3 for one in report.repeats)
    assert report.confirmed
    assert report.best.name == report.repeats[0].name
    spread = [one.value.high - one.value.low for one in report.repeats]
    assert min(spread) > 0


def test_two_equal_trials_cannot_be_told_apart(tmp_path):
    config = tune(
        space={"optimizer.lr": [1e-3, 1.0001e-3]},
        design="grid",
        trials=None,
        early_stop="none",
        repeat={"top": 2, "seeds": 3},
    )

    _, report = run(config, tmp_path, noise=0.05)

    assert not report.against[0].shown
    assert "cannot be told apart" in str(report)


def test_what_matters_is_said_of_a_space_filling_design_only(tmp_path):
    space = {"optimizer.lr": {"float": [1e-5, 1e-2], "log": True}, "dummy_a": {"float": [0, 1]}}
    filled = tune(name="sobol", space=space, design="sobol", trials=16, early_stop="none")
    grown = tune(name="tpe", space=space, design="tpe", trials=16, early_stop="none")

    _, sobol = run(filled, tmp_path)
    _, tpe = run(grown, tmp_path)

    shown = {term.name: term.shown for term in sobol.importance.mains}
    assert shown == {"optimizer.lr": True, "dummy_a": False}
    assert "optimizer.lr" in str(sobol).partition("what matters")[2]
    assert "chose recipes by earlier scores" in tpe.refused
    assert "train tune FILE" in tpe.refused


def test_importance_after_early_stops_is_of_the_measuring_that_all_reached(tmp_path):
    config = tune(
        space={"optimizer.lr": {"float": [1e-5, 1e-2], "log": True}}, design="sobol", trials=16
    )

    _, report = run(config, tmp_path)

    assert report.count("pruned") > 0
    assert report.importance_at == config.early_stop.grace


def test_another_search_of_that_name_is_refused_and_named(tmp_path):
    run(tune(design="random"), tmp_path)

    with pytest.raises(ConfigError, match=r"space\.optimizer\.lr"):
        run(tune(design="random", space={"optimizer.lr": [1e-4, 1e-3]}), tmp_path)


def test_more_trials_go_on_from_those_there_are(tmp_path):
    run(tune(design="sobol", trials=4), tmp_path)

    curve, report = run(tune(design="sobol", trials=8), tmp_path)

    assert len(curve.seen) == 4
    assert len(report.trials) == 8


def test_all_faults_of_a_file_show_at_once(tmp_path):
    file = tmp_path / "tune.yaml"
    wrong = {
        "name": "x",
        "train": TRAIN,
        "space": {
            "optimizer.learning": [1, 2],
            "steps": [10, 20],
            "data.held_out": [0.1, 0.2],
            "every.log": [1, 2],
        },
    }
    file.write_text(yaml.safe_dump(wrong))

    with pytest.raises(ConfigError) as caught:
        TuneConfig.from_yaml(file)

    text = str(caught.value)
    for part in ("optimizer.learning", "steps", "data.held_out", "every.log", "trials: say how"):
        assert part in text, part


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"lora.rank": [0, 4]}}, "lora.rank: 0 is refused"),
        ({"space": {"batch": [4, 400]}}, "batch: 400 takes more pictures"),
        ({"train": TRAIN | {"colour": 1}}, "train.colour: unknown key"),
        ({"train": TRAIN | {"data": {"source": "p", "held_out": 0}}}, "held_out: 0 leaves"),
        ({"objective": "clip"}, "validation.prompts"),
        ({"design": "grid"}, "a grid needs a step"),
        ({"ray": {"address": "ray://head:10001"}}, "Ray Client"),
        ({"early_stop": {"grace": 9}}, "grace: 9 is more than the 8"),
        ({"wat": 1}, "wat"),
    ],
)
def test_faults_are_named(changes, said, tmp_path):
    file = tmp_path / "tune.yaml"
    data = {"name": "lr", "train": TRAIN, "space": {"optimizer.lr": LR}, "trials": 6} | changes
    file.write_text(yaml.safe_dump(data))

    with pytest.raises(ConfigError) as caught:
        TuneConfig.from_yaml(file)

    assert said in str(caught.value)


def test_a_training_in_its_own_file_keeps_its_pictures_beside_it(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.yaml").write_text(yaml.safe_dump(TRAIN | {"name": "own"}))
    file = tmp_path / "tune.yaml"
    data = {"name": "lr", "train": "sub/train.yaml", "space": {"optimizer.lr": LR}, "trials": 6}
    file.write_text(yaml.safe_dump(data))

    config = TuneConfig.from_yaml(file, ("seed=3",))

    assert config.base.data.source == str(tmp_path / "sub" / "pictures")
    assert config.seed == 3
    assert config.training({"optimizer.lr": 1e-3}, "lr-t000").name == "lr-t000"


def test_the_record_is_json_and_a_page(tmp_path):
    _, report = run(tune(design="random"), tmp_path)

    folder = tmp_path / "tunes" / "lr"
    data = json.loads((folder / "report.json").read_text())
    assert data["best"]["name"] == report.best.name
    assert "| optimizer.lr |" in (folder / "report.md").read_text()


def test_a_stop_file_stops_after_the_trial_and_the_search_goes_on_later(tmp_path):
    config = tune(design="random", trials=5)
    folder = TuneFolder(tmp_path / "tunes" / "lr")
    curve = Curve(config)

    def objective(made: TrainConfig, report: Report) -> float:
        if made.name == "lr-t001":
            folder.stop.write_text("a test")
        return curve(made, report)

    stopped = search(config, tmp_path, objective)
    rest, resumed = run(config, tmp_path)

    assert (stopped.state, len(curve.seen)) == ("stopped", 2)
    assert (resumed.state, len(rest.seen)) == ("finished", 3)


def test_the_files_of_the_documentation_are_right(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "training-tune.md").read_text()
    first, second = (part.split("```")[0] for part in text.split("```yaml\n")[1:])
    (tmp_path / "ink.yaml").write_text(yaml.safe_dump(TRAIN | {"name": "ink"}))
    (tmp_path / "tune.yaml").write_text(first + second)

    config = TuneConfig.from_yaml(tmp_path / "tune.yaml")

    assert (config.backend, config.ray.gpus_per_trial, config.budget) == ("ray", 0.5, 2000)
