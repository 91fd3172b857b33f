"""What a search over trainings is: its file, read into one frozen object, all faults together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from teststrip.config import parse, read_yaml, with_changes
from teststrip.errors import ConfigError
from teststrip.recipe import Frozen
from teststrip.study.config import Design, Objective
from teststrip.study.designs import design_points
from teststrip.study.space import DUMMY, Param, Point, Space
from teststrip.train.config import TrainConfig
from teststrip.train.tune.settings import changed, field_faults, spread_faults

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$"  # a trial's own name adds up to 16 signs
VAL_LOSS = "val_loss"


class EarlyStop(Frozen):
    """When a trial is given up before its budget is used.

    `halving`: at measurings `grace`, `grace x eta`, ... only the best 1 / `eta` go on (successive
    halving; ASHA on Ray). `wilcoxon`: from measuring `grace` on, a trial that is worse than the
    best finished one at the same measuring, by a one-sided signed-rank test over held-out pictures
    (or prompts) at level `p`. `none`: every trial uses its budget.
    """

    kind: Literal["halving", "wilcoxon", "none"] = "halving"
    grace: int = Field(default=2, ge=1, le=1000)
    eta: int = Field(default=3, ge=2, le=100)
    p: float = Field(default=0.05, gt=0, lt=0.5)

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_a_kind(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class Repeat(Frozen):
    """The best `top` trials are trained once more with `seeds` new seeds each; 0 repeats none."""

    top: int = Field(default=2, ge=0, le=100)
    seeds: int = Field(default=3, ge=2, le=100)


class Ray(Frozen):
    """Where trials run with `backend: ray`.

    `address`: an existing cluster (`auto`, or host:port on a machine of it); one is started here
    where none is given, with `cpus` CPUs (all of them by default). A part of a GPU (0.5) lets two
    trials share one; nothing keeps their memory apart. `at_once`: most trials side by side.
    `retries`: how often a trial is taken up again whose process died.
    """

    address: str | None = Field(default=None, min_length=1, max_length=300)
    cpus: int | None = Field(default=None, ge=1)
    cpus_per_trial: float = Field(default=1, gt=0)
    gpus_per_trial: float = Field(default=0, ge=0)
    at_once: int | None = Field(default=None, ge=1)
    retries: int = Field(default=2, ge=0, le=100)

    @field_validator("address")
    @classmethod
    def _no_client(cls, value: str | None) -> str | None:
        if value and value.startswith("ray://"):
            raise ValueError(
                "Ray Client (ray://) is not supported; start on a machine of the cluster with "
                "address auto or host:6379"
            )
        return value


class TuneConfig(Frozen):
    """One search over trainings. Frozen; unknown keys are refused.

    `train`: a training, written out or the path of its file. `space`: dotted keys of it, each
    with a range as in a study file. `samples`: training pictures seen by every trial (steps x
    batch x accumulate of `train` where not given). `measure`: how often each is measured on the
    way, `checkpoints`: how often its weights (and validation images) are kept.
    """

    name: str = Field(pattern=NAME)
    train: dict[str, Any]
    space: dict[str, Param] = Field(min_length=1)
    objective: Objective = Objective(score=VAL_LOSS)
    design: Literal["grid", "sobol", "random", "factorial", "tpe", "gp"] = "tpe"
    trials: int | None = Field(default=None, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    samples: int | None = Field(default=None, ge=1)
    measure: int = Field(default=8, ge=1, le=1000)
    checkpoints: int = Field(default=1, ge=1, le=1000)
    early_stop: EarlyStop = EarlyStop()
    repeat: Repeat = Repeat()
    backend: Literal["optuna", "ray"] = "optuna"
    ray: Ray = Ray()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults = []
        if self.trials is None and not self.is_counted:
            faults.append(
                f"trials: say how many; only a grid or factorial has a number, not {self.design}"
            )
        if self.design == "grid" and (
            endless := [name for name, param in self.solid.items() if param.levels is None]
        ):
            faults.append(f"design: a grid needs a step or a list for {', '.join(endless)}")
        if not self.solid:
            faults.append("space: holds dummies only")
        if self.measures < self.early_stop.grace and self.early_stop.kind != "none":
            faults.append(
                f"early_stop.grace: {self.early_stop.grace} is more than the {self.measures} "
                "measurings of a trial"
            )
        faults += self._faults_of_trials()
        if faults:
            raise ValueError("\n".join(dict.fromkeys(faults)))
        return self

    @property
    def is_counted(self) -> bool:
        """The design says itself how many trials there are."""
        return self.design in ("grid", "factorial")

    @property
    def is_fixed(self) -> bool:
        """All points are known before the first trial."""
        return self.design not in ("tpe", "gp")

    @property
    def on_loss(self) -> bool:
        """The objective is the held-out loss, and no score of images."""
        return self.objective.score == VAL_LOSS

    @property
    def measures(self) -> int:
        """How often a trial's objective is known: a score only where images are made."""
        return self.measure if self.on_loss else self.checkpoints

    @property
    def solid(self) -> dict[str, Param]:
        """The parameters that do something."""
        return {name: param for name, param in self.space.items() if not name.startswith(DUMMY)}

    @property
    def base(self) -> TrainConfig:
        """The training as `train` has it, unchanged."""
        return TrainConfig.model_validate({"name": self.name} | self.train)

    @property
    def budget(self) -> int:
        """Training pictures that every trial sees."""
        base = self.base
        return self.samples or base.steps * base.batch * base.accumulate

    def points(self) -> list[Point]:
        """The points of a fixed design, in order."""
        design = Design(kind=self.design, trials=self.trials, seed=self.seed)
        return design_points(design, Space(self.space), lambda point: True)

    def training(self, point: Mapping[str, Any], name: str, seed: int | None = None) -> TrainConfig:
        """The training of a point at the budget. Raises ConfigError where it cannot be."""
        data = changed(self.train, {k: v for k, v in point.items() if not k.startswith(DUMMY)})
        data |= {"name": name} | ({} if seed is None else {"seed": seed})
        asked = parse(TrainConfig, data, f"trial {name}")
        each = asked.batch * asked.accumulate
        if self.budget < each:
            raise ConfigError(
                f"trial {name}: one step takes {each} pictures (batch {asked.batch} x accumulate "
                f"{asked.accumulate}), the budget is {self.budget}; raise samples"
            )
        steps = self.budget // each
        every = asked.every.model_copy(
            update={
                "held_out": -(-steps // self.measure),
                "checkpoint": -(-steps // self.checkpoints),
            }
        )
        return asked.model_copy(update={"steps": steps, "every": every})

    def resolved(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        return self.model_dump(mode="json", by_alias=True)

    def _faults_of_trials(self) -> list[str]:
        """The training itself, the keys of the space, and the ends of every range."""
        try:
            parse(TrainConfig, {"name": self.name} | self.train, "train")
        except ConfigError as exc:
            return [f"train.{fault}" for fault in exc.faults]
        base = self.base
        if self.on_loss and base.data.held_out == 0:
            return ["train.data.held_out: 0 leaves no pictures to measure the held-out loss on"]
        if not self.on_loss and not base.validation.prompts:
            return [
                f"train.validation.prompts: {self.objective.score} judges images, none are asked "
                "for"
            ]
        faults = field_faults(list(self.solid), on_loss=self.on_loss)
        return faults or spread_faults(self.solid, self.train, self.budget)

    @classmethod
    def from_yaml(cls, path: Path, changes: tuple[str, ...] = ()) -> Self:
        """Read a file; relative paths are beside it. Raises ConfigError, all faults."""
        found = read_yaml(path)
        data = with_changes(found if isinstance(found, dict) else {}, changes)
        beside = path.parent
        if isinstance(data.get("train"), str):
            beside = (path.parent / Path(data["train"]).expanduser()).parent
            data["train"] = read_yaml(beside / Path(data["train"]).name)
        if isinstance(data.get("train"), dict):
            data["train"] = _placed(data["train"], beside)
        return parse(cls, data, str(path))


def _placed(train: dict[str, Any], beside: Path) -> dict[str, Any]:
    """The training with the path of its pictures made absolute."""
    data = train.get("data")
    if isinstance(data, str):
        data = {"source": data}
    if not isinstance(data, dict) or not isinstance(data.get("source"), str):
        return train
    source = (beside / Path(data["source"]).expanduser()).resolve()
    return train | {"data": data | {"source": str(source)}}
