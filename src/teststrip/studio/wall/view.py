r"""View: all that a wall shows, as its address says it.

The address: study, x, y, x2, y2 (a field, or `none`), score, sort (a field; `-` before it turns
the order round), show=images|mean, per (images in a cell), size (px), q (text in the prompt),
status=all|ok|failed, f.FIELD=a,b (a set; in a value `\,` is a comma, `\\` a backslash;
`\N` is no value, `\E` an empty one), f.FIELD.min
and f.FIELD.max (a range, ends included), hide.FIELD=a,b (values of an axis not shown).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args
from urllib.parse import urlencode

from teststrip.errors import ConfigError
from teststrip.studio.index import Entry
from teststrip.studio.wall import fields as known

Show = Literal["images", "mean"]
Status = Literal["all", "ok", "failed"]
AXES = ("x", "y", "x2", "y2")
PLAIN = ("study", *AXES, "score", "sort", "show", "per", "size", "q", "status")
PER, SIZES = (1, 2, 3, 4, 6, 9), (96, 192, 384)
MOST_TEXT, MOST_VALUES = 500, 1000
_PART, _ESCAPED = re.compile(r"(?:\\.|[^,\\])+", re.DOTALL), re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; None: open."""

    field: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class View:
    """Axes and sort are names of fields. `sets`, `hidden`: (field, values as text)."""

    study: str
    x: str | None = None
    y: str | None = None
    x2: str | None = None
    y2: str | None = None
    score: str | None = None
    sort: str = "order"
    show: Show = "images"
    per: int = 4
    size: int = 96
    q: str = ""
    status: Status = "all"
    sets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ranges: tuple[Range, ...] = ()
    hidden: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def axes(self) -> tuple[str | None, ...]:
        """x, y, x2, y2."""
        return self.x, self.y, self.x2, self.y2

    @property
    def is_flat(self) -> bool:
        """No axis: all images in one row after another."""
        return not any(self.axes)

    @property
    def is_filtered(self) -> bool:
        """Some images may be left out."""
        return bool(self.sets or self.ranges or self.q or self.status != "all")

    def query(self) -> list[tuple[str, str]]:
        """The names and values of its address; `parse` gives the same view back."""
        out = [("study", self.study)]
        out += [(name, axis or "none") for name, axis in zip(AXES, self.axes, strict=True)]
        if self.score:
            out.append(("score", self.score))
        blank = View(self.study)
        for name in ("sort", "show", "per", "size", "q", "status"):
            if getattr(self, name) != getattr(blank, name):
                out.append((name, str(getattr(self, name))))
        out += [(f"f.{name}", _joined(values)) for name, values in self.sets]
        for span in self.ranges:
            ends = (("min", span.low), ("max", span.high))
            out += [(f"f.{span.field}.{e}", known.text_of(v)) for e, v in ends if v is not None]
        return out + [(f"hide.{name}", _joined(values)) for name, values in self.hidden]

    def address(self) -> str:
        """The query string."""
        return urlencode(self.query())


def parse(pairs: Iterable[tuple[str, str]], entry: Entry, default: View | None = None) -> View:
    """A view of `entry` from an address. Raises ConfigError with every fault of it.

    An address without axes and filters is `default`, with what else it says; one with filters
    alone shows these images without axes.
    """
    reading = _Reading(entry)
    for name, value in pairs:
        reading.take(name, value)
    return reading.view(default)


class _Reading:
    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.fields = known.fields(entry)
        self.faults: list[str] = []
        self.plain: dict[str, str] = {}
        self.sets: dict[str, dict[str, None]] = {}
        self.hidden: dict[str, dict[str, None]] = {}
        self.ends: dict[str, dict[str, float]] = {}

    def take(self, name: str, value: str) -> None:
        if name in PLAIN:
            if value != "":
                self.plain[name] = value
        elif name.startswith("f."):
            self._filter(name[2:], value)
        elif name.startswith("hide."):
            self._set(self.hidden, name[5:], value, known.axis_names(self.entry))
        else:
            self.faults.append(f"{name!r} is not known; accepted: {', '.join(PLAIN)}, f.*, hide.*")

    def _filter(self, name: str, value: str) -> None:
        field, _, end = name.rpartition(".")
        if name not in self.fields and name not in known.ALIASES and end in ("min", "max"):
            if value == "":  # an empty box of the form
                return
            number = known.number_of(value)
            if field not in known.range_names(self.entry):
                self.faults.append(f"f.{name}: {field!r} is no number of this study")
            elif number is None:
                self.faults.append(f"f.{name} is {value!r}; a number is accepted")
            else:
                self.ends.setdefault(field, {})[end] = number
        else:
            self._set(self.sets, name, value, known.set_names(self.entry))

    def _set(
        self, into: dict[str, dict[str, None]], name: str, value: str, names: list[str]
    ) -> None:
        field = known.ALIASES.get(name, name)
        if field not in names:
            self.faults.append(f"{name!r} is no field to choose values of in this study")
            return
        values = _split(value)
        if self.fields[field].kind == "number":
            wrong = [v for v in values if v != known.NOTHING and known.number_of(v) is None]
            self.faults.extend(f"{name} is {v!r}; a number is accepted" for v in wrong)
        kept = into.setdefault(field, {})
        kept.update(dict.fromkeys(values))
        if len(kept) > MOST_VALUES:
            self.faults.append(f"{name} has over {MOST_VALUES} values")

    def _one_of(self, name: str, allowed: Iterable[str], otherwise: str) -> str:
        value = self.plain.get(name, otherwise)
        bare = value.removeprefix("-") if name == "sort" else value
        if bare not in (allowed := list(allowed)) and name in self.plain:
            self.faults.append(f"{name} is {value!r}; accepted: {', '.join(allowed)}")
        return value

    def _axes(self) -> dict[str, str | None]:
        out: dict[str, str | None] = {}
        for name in AXES:
            given = self.plain.get(name, "none")
            field = known.ALIASES.get(given, given)
            if field == "none":
                out[name] = None
            elif field not in known.axis_names(self.entry):
                accepted = ", ".join(known.axis_names(self.entry))
                self.faults.append(f"{name} is {given!r}; accepted: none, {accepted}")
            elif field in out.values():
                self.faults.append(f"{name} is {given!r}, which another axis shows already")
            else:
                out[name] = field
        return out

    def view(self, default: View | None) -> View:
        axes = self._axes()
        scores = known.score_names(self.entry)
        first = self.entry.objective if self.entry.objective in scores else scores[0]
        score = self._one_of("score", scores, first)
        sort = self._one_of("sort", known.sort_names(self.entry), "order")
        show = self._one_of("show", get_args(Show), "images")
        status = self._one_of("status", get_args(Status), "all")
        per = self._one_of("per", map(str, PER), "4")
        size = self._one_of("size", map(str, SIZES), "96")
        q = self.plain.get("q", "")
        if len(q) > MOST_TEXT:
            self.faults.append(f"q has {len(q)} characters; at most {MOST_TEXT} are accepted")
        for field, ends in self.ends.items():
            if ends.get("min", float("-inf")) > ends.get("max", float("inf")):
                self.faults.append(f"f.{field}: min {ends['min']} is over max {ends['max']}")
        if self.faults:
            raise ConfigError("this wall cannot be shown", self.faults)
        made = View(
            study=self.entry.name,
            **axes,
            score=score,
            sort="order" if sort == "-order" else sort,
            show=cast("Show", show),
            per=int(per),
            size=int(size),
            q=q,
            status=cast("Status", status),
            sets=tuple((name, tuple(values)) for name, values in self.sets.items() if values),
            ranges=tuple(Range(n, e.get("min"), e.get("max")) for n, e in self.ends.items()),
            hidden=tuple((name, tuple(values)) for name, values in self.hidden.items() if values),
        )
        if default and not made.is_filtered and not any(name in self.plain for name in AXES):
            return replace(
                made, x=default.x, y=default.y, x2=default.x2, y2=default.y2, sets=default.sets
            )
        return made


def part(value: str) -> str:
    """One value as it stands in an address."""
    marks = {"": r"\E", known.NOTHING: r"\N"}
    return marks.get(value) or value.replace("\\", "\\\\").replace(",", r"\,")


def _joined(values: Iterable[str]) -> str:
    return ",".join(part(value) for value in values)


def _split(text: str) -> list[str]:
    marks = {r"\E": "", r"\N": known.NOTHING}
    parts = _PART.findall(text) if text else []
    return [marks[p] if p in marks else _ESCAPED.sub(r"\1", p) for p in parts if p]
