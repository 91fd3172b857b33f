"""Where the arrow keys lead: lines of images through one image.

Along a setting all else stays as it is: prompt, seed and every other setting. Designs that fill
space have no such recipe for most values; then the stop is the recipe with the fewest other
settings changed, the nearest of these where there are several, and each stop says what changed.
"""

# ruff: noqa: S608 - SQL holds the index's own table names and checked columns; values go by `?`

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from teststrip.evidence.numbers import show
from teststrip.studio.compare.shots import PARAM, known, label_of, quoted
from teststrip.studio.index import Entry, Index, Setting

Row = dict[str, Any]
MOST_A_SIDE = 12  # stops along a setting with very many values, on each side
WINDOW = 40  # stops that are told, on each side
MOST_IMAGES = 5_000


@dataclass(frozen=True)
class Stop:
    """An image on a line. `changed`: (setting, before, after) against the line's own image."""

    key: str
    value: str
    prompt_id: str
    prompt: str
    seed: str  # as text: imported ones can be longer than a browser counts; "none" where unknown
    recipe_id: str
    changed: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Line:
    """Stops in order; `at`: the image that it goes through; `before`: stops left out in front."""

    label: str
    at: int
    of: int
    before: int = 0
    stops: list[Stop] = field(default_factory=list)


def steerable(entry: Entry) -> tuple[Setting, ...]:
    """The settings one can move along. Dummy parameters change no image and are left out."""
    real = tuple(s for s in entry.settings if not s.field.startswith(PARAM))
    return real or entry.settings


def axes(entry: Entry, x: str | None, y: str | None) -> tuple[str | None, str | None]:
    """The fields of the two arrow axes: as asked if the study has them, else numbers first."""
    able = sorted(steerable(entry), key=lambda s: not s.numeric)
    names = [s.field for s in able]
    first = x if x in names else next((n for n in names if n != y), None)
    second = y if y in names and y != first else next((n for n in names if n != first), None)
    return first, second


def lines(index: Index, entry: Entry, row: Row, x: str | None, y: str | None) -> dict[str, Line]:
    """Lines through one image (its row): `x` and `y` along settings, `seed` and `prompt`."""
    settings = {s.field: s for s in steerable(entry)}
    asked = {"x": x, "y": y}
    found = {
        name: _along(index, entry, row, settings[column])
        for name, column in asked.items()
        if column is not None
    }
    own = _own_images(index, entry, row)
    found["seed"] = _line(
        "seed",
        row,
        sorted((r for r in own if r["prompt_id"] == row["prompt_id"]), key=_seed),
        lambda r: show(r["seed"]),
    )
    found["prompt"] = _line("prompt", row, _one_a_prompt(own, row), lambda r: str(r["prompt"]))
    return found


def _along(index: Index, entry: Entry, row: Row, setting: Setting) -> Line:
    others = [s for s in steerable(entry) if s.field != setting.field]
    columns = ", ".join(quoted(s.field) for s in (setting, *others))
    same = "prompt_id = ? AND seed = ?" if entry.paired else "prompt_id = ?"
    values = [row["prompt_id"], row["seed"]] if entry.paired else [row["prompt_id"]]
    rows = index.query(
        f"SELECT image_key, recipe_id, prompt_id, prompt, seed, {columns} "
        f"FROM {index.table(entry.name)} WHERE {same} AND status = 'ok' "
        f"ORDER BY image_id LIMIT {MOST_IMAGES}",
        values,
    )
    groups: dict[Any, list[Row]] = {}
    for other in rows:
        groups.setdefault(_cell(other, setting), []).append(other)
    here = _cell(row, setting)
    groups[here] = [row]
    order = sorted(groups, key=lambda value: _place(value, setting))
    at = order.index(here)
    below, above = _binned(order[:at]), _binned(order[at + 1 :])

    widths = _widths(others)

    def nearest(values: Sequence[Any]) -> Row:
        return min(
            (r for v in values for r in groups[v]), key=lambda r: _cost(row, r, others, widths)
        )

    chosen = [*(nearest(v) for v in below), row, *(nearest(v) for v in above)]
    return _line(
        label_of(setting.field), row, chosen, lambda r: show(_cell(r, setting)), (setting, *others)
    )


def _binned(values: list[Any]) -> list[list[Any]]:
    """A value each, or neighbouring values together where there are too many."""
    size = -(-len(values) // MOST_A_SIDE) or 1
    return [values[k : k + size] for k in range(0, len(values), size)]


def _cell(row: Row, setting: Setting) -> Any:
    """A setting's value; 7.0 as 7, None for NaN. The index gives plain Python values already."""
    value = known(row[setting.field])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _place(value: Any, setting: Setting) -> tuple[int, float, str]:
    """Where a value stands in order: nothing first, then numbers, or text as the study has it."""
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    place = setting.values.index(value) if value in setting.values else 1e9
    return (2, float(place), str(value))


def _widths(settings: Sequence[Setting]) -> list[float]:
    """The range of each setting's values; 0 for text."""
    ends = [
        [v for v in s.values if isinstance(v, int | float)] if s.numeric else [] for s in settings
    ]
    return [float(max(e) - min(e)) if e else 0.0 for e in ends]


def _cost(
    here: Row, there: Row, others: Sequence[Setting], widths: Sequence[float]
) -> tuple[int, float, bool, str]:
    """Fewest settings changed first, then the smallest change (shares of each range)."""
    count, far = 0, 0.0
    for setting, width in zip(others, widths, strict=True):
        a, b = here[setting.field], there[setting.field]
        if a == b:
            continue
        a, b = known(a), known(b)
        if a is None and b is None:
            continue
        count += 1
        is_far = not width or a is None or b is None
        far += 1.0 if is_far else min(abs(a - b) / width, 1.0)
    return (count, far, here["seed"] != there["seed"], str(there["recipe_id"]))


def _own_images(index: Index, entry: Entry, row: Row) -> list[Row]:
    """Images of the same recipe, prompts in the study's order."""
    return index.query(
        f"SELECT image_key, recipe_id, prompt_id, prompt, seed FROM {index.table(entry.name)} "
        f"WHERE recipe_id = ? AND status = 'ok' "
        f"ORDER BY split <> 'search', block, image_id LIMIT {MOST_IMAGES}",
        [row["recipe_id"]],
    )


def _seed(row: Row) -> int:
    """The seed; imported pictures may not tell theirs."""
    return -1 if row["seed"] is None else int(row["seed"])


def _one_a_prompt(own: Sequence[Row], row: Row) -> list[Row]:
    """One image of each prompt: of the same seed, or of the nearest where there is none."""
    found: dict[str, Row] = {}
    for other in own:
        kept = found.get(other["prompt_id"])
        here = _seed(row)
        if kept is None or abs(_seed(other) - here) < abs(_seed(kept) - here):
            found[other["prompt_id"]] = other
    return [row if key == row["prompt_id"] else r for key, r in found.items()]


def _line(
    label: str, row: Row, rows: Sequence[Row], value: Any, settings: Sequence[Setting] = ()
) -> Line:
    """The stops of `rows`, which hold `row` itself; a window of them where they are many."""
    at = next((k for k, r in enumerate(rows) if r["image_key"] == row["image_key"]), None)
    if at is None:
        rows, at = [row], 0
    first = max(0, at - WINDOW)
    kept = rows[first : at + WINDOW + 1]
    stops = [_stop(row, r, value(r), settings) for r in kept]
    return Line(label=label, at=at - first, of=len(rows), before=first, stops=stops)


def _stop(here: Row, there: Row, value: str, settings: Sequence[Setting]) -> Stop:
    changed = [
        (label_of(s.field), show(_cell(here, s)), show(_cell(there, s)))
        for s in settings
        if _cell(here, s) != _cell(there, s)
    ]
    if here["seed"] != there["seed"]:
        changed.append(("seed", show(here["seed"]), show(there["seed"])))
    return Stop(
        key=str(there["image_key"]),
        value=value,
        prompt_id=str(there["prompt_id"]),
        prompt=str(there["prompt"]),
        seed=show(there["seed"]),
        recipe_id=str(there["recipe_id"]),
        changed=tuple(changed),
    )
