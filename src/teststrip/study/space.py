"""The space of recipes: choices, whole numbers and fractions, each perhaps under a condition."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from teststrip.recipe import Frozen, canonical_json

DUMMY = "dummy_"
Point = dict[str, Any]


class Param(Frozen):
    """One searched field: `[a, b]`, `{choice: [..]}`, `{int: [lo, hi]}` or `{float: [lo, hi]}`.

    `log` searches on a log scale, `step` on a raster from the low end, `when` only where other
    searched fields have one of the given values.
    """

    choice: tuple[Any, ...] | None = Field(default=None, min_length=1, max_length=1000)
    whole: tuple[int, int] | None = Field(default=None, alias="int")
    real: tuple[float, float] | None = Field(default=None, alias="float")
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _a_list_is_a_choice(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return {"choice": value}
        if not isinstance(value, Mapping | Param):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueError
                "write a list of values, {int: [low, high]} or {float: [low, high]}; "
                "a single value belongs under `recipe`"
            )
        return value

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: v if isinstance(v, list | tuple) else [v] for k, v in value.items()}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        kinds = [k for k in (self.choice, self.whole, self.real) if k is not None]
        faults = []
        if len(kinds) != 1:
            faults.append("give exactly one of choice, int, float")
        elif self.choice is not None:
            if len({canonical_json(v) for v in self.choice}) != len(self.choice):
                faults.append("a value is listed twice")
            if self.log or self.step:
                faults.append("log and step act on int and float only")
        else:
            low, high = self.ends
            if low >= high:
                faults.append(f"the low end must be below the high end, got [{low}, {high}]")
            if self.log and low <= 0:
                faults.append("log needs a low end above 0")
            if self.log and self.step:
                faults.append("give log or step, not both")
            if self.step and self.step > high - low:
                faults.append(f"step {self.step} is wider than the range")
            if self.whole and self.step and self.step != int(self.step):
                faults.append("the step of an int must be whole")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Low and high end of a numeric parameter."""
        return self.whole or self.real or (0, 0)

    @property
    def levels(self) -> tuple[Any, ...] | None:
        """All values in order; None where there is no end of them."""
        if self.choice is not None:
            return self.choice
        low, high = self.ends
        if self.whole:
            return None if self.log else tuple(range(int(low), int(high) + 1, int(self.step or 1)))
        if not self.step:
            return None
        count = math.floor((high - low) / self.step + 1e-9) + 1
        return tuple(_tidy(low + i * self.step) for i in range(count))

    @property
    def corners(self) -> tuple[Any, ...]:
        """What a factorial design crosses: every choice, or both ends of a range."""
        if self.choice is not None:
            return self.choice
        levels = self.levels or self.ends
        return (levels[0], levels[-1])

    def at(self, share: float) -> Any:
        """The value at `share` in [0, 1) of the range; equal parts for a choice or a raster."""
        if (levels := self.levels) is not None:
            return levels[min(int(share * len(levels)), len(levels) - 1)]
        low, high = self.ends
        if self.whole:  # log: each whole number owns the half units around it
            a, b = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(a + share * (b - a))), int(low)), int(high))
        if self.log:
            return self._inside(low * (high / low) ** share)
        return self._inside(low + share * (high - low))

    def suggest(self, trial: Any, name: str) -> Any:
        """Ask an Optuna trial for a value."""
        if self.choice is not None:
            return self.decode(trial.suggest_categorical(name, [_plain(v) for v in self.choice]))
        low, high = self.ends
        if self.whole:
            step = {} if self.log else {"step": int(self.step or 1)}
            high = high if self.log else (self.levels or (high,))[-1]
            return trial.suggest_int(name, int(low), int(high), log=self.log, **step)
        with warnings.catch_warnings():  # a raster that misses the high end ends before it
            warnings.simplefilter("ignore", UserWarning)
            stored = trial.suggest_float(name, low, high, log=self.log, step=self.step)
        return self.decode(stored)

    def _inside(self, value: float) -> float:
        """Rounded for whoever reads the table, but not out of the range."""
        low, high = self.ends
        return min(max(_tidy(value), low), high)

    def encode(self, value: Any) -> Any:
        """What Optuna stores for `value`: lists and objects become JSON text."""
        return _plain(value) if self.choice is not None else value

    def decode(self, stored: Any) -> Any:
        """The value behind what Optuna stores."""
        if self.real and self.levels:
            return min(self.levels, key=lambda level: abs(level - stored))
        if self.choice is None:
            return self._inside(stored) if self.real else stored
        return next(v for v in self.choice if _same(_plain(v), stored))

    def holds(self, value: Any) -> bool:
        """Can this parameter take `value`?"""
        if (levels := self.levels) is not None:
            return any(_same(value, level) for level in levels)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.ends
        return low <= value <= high and (self.whole is None or value == int(value))


class Space:
    """The searched parameters, each after those that its condition names."""

    def __init__(self, params: Mapping[str, Param]) -> None:
        self.params: dict[str, Param] = {}
        waiting = dict(params)
        while waiting:
            free = [n for n, p in waiting.items() if not set(p.when) & set(waiting)]
            if not free:
                raise ValueError(f"`when` goes round in a circle: {', '.join(waiting)}")
            for name in free:
                self.params[name] = waiting.pop(name)

    def draw(self, pick: Callable[[str, Param], Any]) -> Point:
        """One point: `pick` chooses a value for each parameter whose condition holds."""
        point: Point = {}
        for name, param in self.params.items():
            if is_active(param, point):
                point[name] = pick(name, param)
        return point

    def cross(self, levels: Callable[[Param], Sequence[Any]]) -> Iterator[Point]:
        """Every combination of the levels, the last parameter turning fastest."""
        yield from self._cross(list(self.params.items()), {}, levels)

    def _cross(
        self,
        rest: list[tuple[str, Param]],
        point: Point,
        levels: Callable[[Param], Sequence[Any]],
    ) -> Iterator[Point]:
        if not rest:
            yield dict(point)
            return
        (name, param), *rest = rest
        if not is_active(param, point):
            yield from self._cross(rest, point, levels)
            return
        for value in levels(param):
            yield from self._cross(rest, point | {name: value}, levels)


def is_active(param: Param, point: Mapping[str, Any]) -> bool:
    """Does the parameter's condition hold at this point?"""
    return all(
        other in point and any(_same(point[other], value) for value in values)
        for other, values in param.when.items()
    )


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b if isinstance(a, bool) or isinstance(b, bool) else a == b


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else canonical_json(value)


def _tidy(value: float) -> float:
    """0.1 + 2 * 0.1 is 0.3 to whoever reads the table."""
    return float(f"{value:.10g}")
