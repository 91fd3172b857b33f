"""Dotted keys of a training: which may be searched, and a training with some of them changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.study.space import Param
from teststrip.train.config import TrainConfig

# What decides the question or the budget; two trials that differ in it cannot be compared.
_FIXED = {
    "name": "each trial gets its own",
    "steps": "every trial sees the same number of samples; steps follow from it",
    "every": "measuring follows from measure and checkpoints",
    "validation": "all trials are measured in the same way",
    "seed": "repeat trains the best with several seeds",
    "cache": "it changes the speed and no number",
    "trigger": "it is a note only",
}
_DATA = ("data.flip", "data.crops")  # of the data, only how training pictures are varied


def changed(train: dict[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `train` with dotted keys set. A string that stands for a part is kept."""
    out = dict(train)
    for key, value in point.items():
        *parents, last = key.split(".")
        here = out
        for parent in parents:
            child = here.get(parent)
            here[parent] = dict(child) if isinstance(child, Mapping) else _opened(parent, child)
            here = here[parent]
        here[last] = value
    return out


def field_faults(keys: Sequence[str], *, on_loss: bool) -> list[str]:
    """One line for each key that no training has, or that may not differ between trials."""
    faults = []
    for key in keys:
        first = key.partition(".")[0]
        if not _exists(key):
            faults.append(f"space.{key}: a training has no such key")
        elif first in _FIXED:
            faults.append(f"space.{key}: cannot be searched: {_FIXED[first]}")
        elif (first == "data" and key not in _DATA) or (first == "base" and on_loss):
            faults.append(
                f"space.{key}: cannot be searched: the held-out loss would be of another question"
            )
    return faults


def spread_faults(space: Mapping[str, Param], train: dict[str, Any], budget: int) -> list[str]:
    """Faults of every choice and of both ends of every range, each alone in the training."""
    faults = []
    for key, param in space.items():
        for value in param.corners:
            try:
                found = parse(TrainConfig, changed({"name": "trial"} | train, {key: value}), key)
            except ConfigError as exc:
                faults += [f"space.{key}: {value!r} is refused: {fault}" for fault in exc.faults]
                continue
            if found.batch * found.accumulate > budget:
                faults.append(
                    f"space.{key}: {value!r} takes more pictures in one step than the budget "
                    f"of {budget}"
                )
    return faults


def _opened(name: str, value: Any) -> dict[str, Any]:
    """A part that was written as one string (`data: pictures`), as the mapping it stands for."""
    if isinstance(value, str):
        return {{"base": "model", "data": "source"}.get(name, name): value}
    return {}


def _exists(key: str) -> bool:
    kind: Any = TrainConfig
    for part in key.split("."):
        fields = getattr(_model(kind), "model_fields", {})
        if part not in fields:
            return False
        kind = fields[part].annotation
    return _model(kind) is None


def _model(kind: Any) -> type[BaseModel] | None:
    """The part of a config behind an annotation such as `Subject | None`; None for a value."""
    for one in (kind, *getattr(kind, "__args__", ())):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None
