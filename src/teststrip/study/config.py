"""What a study is: its file, read into one frozen object, with all faults shown together."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from teststrip.config import faults_of
from teststrip.errors import ConfigError
from teststrip.recipe import Frozen, Recipe
from teststrip.study import adapters
from teststrip.study.blocks import StudyBlock, order_blocks
from teststrip.study.faults import cross_faults
from teststrip.study.prompts import Prompts
from teststrip.study.space import DUMMY, Param

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def is_name(name: str) -> bool:
    """Is it a name for a study (and so safe as the name of its folder)?"""
    return re.fullmatch(NAME_PATTERN, name) is not None


class Named(Frozen):
    """A generator or scorer: a built-in name or the user's `module:attribute`, and its options."""

    name: str = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Seeds(Frozen):
    """Seeds for each prompt: `base`, `base + 1`, ..."""

    per_prompt: int = Field(default=4, ge=1, le=10_000)
    base: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_a_count(cls, value: Any) -> Any:
        return {"per_prompt": value} if isinstance(value, int) else value


class Objective(Frozen):
    """What is to be good: a score's column (or the start of its name) or `seconds`."""

    score: str = Field(min_length=1)
    direction: Literal["max", "min"] | None = None
    primary: bool = False

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_a_score(cls, value: Any) -> Any:
        return {"score": value} if isinstance(value, str) else value


class Budget(Frozen):
    """Where to stop: images made, minutes of generating (the images' own seconds, added up)."""

    images: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)


class Design(Frozen):
    """How recipes are chosen; `trials` is how many (a grid or full factorial needs none)."""

    kind: Literal["grid", "sobol", "random", "factorial", "tpe", "gp", "nsga2"] = "grid"
    trials: int | None = Field(default=None, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, lt=2**31)

    @property
    def is_fixed(self) -> bool:
        """All recipes are known before the first image."""
        return self.kind in ("grid", "sobol", "random", "factorial")


class Race(Frozen):
    """How a recipe that cannot win is stopped (see `teststrip.study.race`)."""

    kind: Literal["halving", "posterior", "frace", "wilcoxon", "none"] = "halving"
    start: int = Field(default=4, ge=1)
    top: int | None = Field(default=None, ge=1)
    eta: float = Field(default=2.0, gt=1, le=10)
    keep: int = Field(default=3, ge=1)
    p: float = Field(default=0.1, gt=0, lt=0.5)
    regret: float = Field(default=0.03, gt=0, lt=1)
    ask: int = Field(default=8, ge=1, le=512)


class StudyConfig(Frozen):
    """One study. Frozen; unknown keys are refused; `teststrip study plan FILE` shows all faults."""

    name: str = Field(pattern=NAME_PATTERN)
    generator: Named = Named(name="local")
    prompts: Prompts
    seeds: Seeds = Seeds()
    recipe: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Param] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    baseline: dict[str, Any] = Field(default_factory=dict)
    scorers: tuple[Named, ...] = (Named(name="clip"),)
    objectives: tuple[Objective, ...] = Field(min_length=1, max_length=4)
    threshold: float | None = None
    budget: Budget = Budget()
    design: Design = Design()
    race: Race = Race()

    @field_validator("objectives", "scorers", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Mapping) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults = cross_faults(vars(self))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def primary(self) -> int:
        """Index of the primary objective: the one marked so, or else the first."""
        return next((i for i, o in enumerate(self.objectives) if o.primary), 0)

    @property
    def dummies(self) -> tuple[str, ...]:
        """Parameters that do nothing; they show how large an importance chance alone makes."""
        return tuple(name for name in self.space if name.startswith(DUMMY))

    @property
    def adapters(self) -> dict[str, str] | None:
        """Swept adapter files and how they are named; None where neither they nor a scale are."""
        if not set(adapters.SWEPT) & set(self.space):
            return None
        swept = self.space.get(adapters.FILE)
        files = [file for file in (swept.choice or () if swept else ()) if file is not None]
        return adapters.names(files)

    @property
    def baseline_recipe(self) -> Recipe:
        """The recipe to beat: `recipe` with the changes under `baseline`."""
        return Recipe.model_validate(self.recipe | self.baseline)

    @property
    def blocks(self) -> tuple[StudyBlock, ...]:
        """The blocks of the search, as many as the race may use."""
        every = order_blocks(self.prompts.split()[0], self._seeds, "search", self.seeds.base)
        return every[: self.race.top or 32]

    @property
    def top(self) -> int:
        """Blocks that a recipe runs on when it is never stopped."""
        return len(self.blocks)

    def held_out_blocks(self, seeds_per_prompt: int | None = None) -> tuple[StudyBlock, ...]:
        """Blocks that the search never touches: held-out prompts *and* seeds of their own."""
        count = seeds_per_prompt or self.seeds.per_prompt
        first = self.seeds.base + 1_000_003
        seeds = range(first, first + count)
        return order_blocks(self.prompts.split()[1], seeds, "held_out", self.seeds.base)

    @property
    def _seeds(self) -> range:
        return range(self.seeds.base, self.seeds.base + self.seeds.per_prompt)

    def resolved(self) -> dict[str, Any]:
        """Everything, in JSON types, as `study.json` keeps it."""
        return self.model_dump(mode="json", by_alias=True)


def check(data: Any, what: str, known: Sequence[str] = ()) -> StudyConfig:
    """Validate `data`. Raises ConfigError with all faults: those `known`, of fields, across them.

    A known fault of a field (`prompts: no such file`) stands for whatever else is said of it.
    """
    try:
        config = StudyConfig.model_validate(data)
    except ValidationError as exc:
        own = [fault for fault in exc.errors(include_url=False) if fault["loc"]]
        spoken_of = {fault.partition(":")[0] for fault in known}
        faults = [
            line
            for line in faults_of(exc)
            if not line.startswith("(whole)") and line.partition(":")[0] not in spoken_of
        ]
        if isinstance(data, Mapping):
            faults += cross_faults(_sound_parts(data, {str(f["loc"][0]) for f in own}))
        faults = list(dict.fromkeys([*known, *faults])) or faults_of(exc)
        raise _config_error(what, faults) from exc
    if known:
        raise _config_error(what, known)
    return config


def _config_error(what: str, faults: Sequence[str]) -> ConfigError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ConfigError(f"{what}: {count}", faults)


def _sound_parts(data: Mapping[str, Any], faulty: set[str]) -> dict[str, Any]:
    """The fields that are fine by themselves, so that faults across them show as well.

    Pydantic runs a model's own validator only when every field is fine, so each is tried alone.
    """
    parts: dict[str, Any] = {}
    for key, field in StudyConfig.model_fields.items():
        if key not in data:
            if not field.is_required():
                parts[key] = field.get_default(call_default_factory=True)
        elif key == "space" and isinstance(data[key], Mapping):
            tried = {name: _alone(Param, value) for name, value in data[key].items()}
            parts[key] = {str(name): param for name, param in tried.items() if param is not None}
        elif key not in faulty:
            value = data[key]
            as_list = key in ("objectives", "scorers") and isinstance(value, str | Mapping)
            parts[key] = _alone(field.annotation, [value] if as_list else value)
    return parts


def _alone(kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None
