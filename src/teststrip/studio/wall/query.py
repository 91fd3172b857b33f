"""View + Entry -> SQL: cells with their statistics, matched images of cells, images in order.

A cell's mean is the mean of its prompts' means, its interval Student's t over these: seeds of one
prompt are no independent witnesses. Failed images have no score and are counted beside.
"""

# ruff: noqa: S608 - columns come quoted from `fields`, tables from the index, values through `?`
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from teststrip.studio.index import Entry
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.axes import Axis
from teststrip.studio.wall.view import View
from teststrip.studio.wall.where import where

MOST_UNITS = 400  # from then on t is 1.966 and stays
IMAGE = "image_id, image_key, recipe_id, prompt_id, prompt, seed, split, status, reason, seconds"


@dataclass(frozen=True)
class Query:
    """SQL with its values in order."""

    sql: str
    values: list[Any]


@lru_cache(maxsize=1)
def t_quantiles() -> tuple[float, ...]:
    """Student's t at 97.5 % by number of units, from none; 0.0 where there is no interval."""
    from scipy.special import stdtrit

    return (0.0, 0.0, *(float(stdtrit(n - 1, 0.975)) for n in range(2, MOST_UNITS + 1)))


def half_width(deviation: float | None, units: int) -> float | None:
    """Half of the 95 % interval of a mean of `units`; None for one."""
    if units < 2 or deviation is None:
        return None
    t: float = t_quantiles()[min(units, MOST_UNITS)]
    return float(t * deviation / math.sqrt(units))


def _number(name: str | None) -> str:
    """A score's column; NULL where it is no finite number."""
    if name is None:
        return "NULL::DOUBLE"
    return f"CASE WHEN isfinite({known.quoted(name)}) THEN {known.quoted(name)} END"


def _base(view: View, entry: Entry, table: str, axes: Sequence[Axis], sort: str) -> Query:
    keys = ", ".join(f"{axis.sql} AS a{i}" for i, axis in enumerate(axes))
    condition, values = where(view, entry)
    sql = (
        f"SELECT {keys}, image_id, image_key, status, "
        f"{_number('seconds')} AS seconds, "
        "coalesce(prompt_id, '') AS prompt_id, coalesce(seed, -1) AS seed, "
        f"{_number(view.score)} AS s, {sort} AS o FROM {table} WHERE {condition}"
    )
    return Query(sql, [top for axis in axes for top in axis.tops] + values)


def cells(view: View, entry: Entry, table: str, axes: Sequence[Axis]) -> Query:
    """Rows: a0.. (the cell), total, failed, images, prompts, mean, deviation, seconds, o.

    `o`: the mean of what one sorts by.
    """
    sort = view.sort.removeprefix("-")
    base = _base(view, entry, table, axes, _number(None if sort in ("order", "lower") else sort))
    keys = ", ".join(f"a{i}" for i in range(len(axes)))
    return Query(
        f"WITH base AS ({base.sql}), "
        f"by_prompt AS (SELECT {keys}, avg(s) AS m, count(s) AS n, count(*) AS total, "
        "count(*) FILTER (status <> 'ok') AS failed, sum(seconds) AS seconds, "
        "count(seconds) AS timed, sum(o) AS o, count(o) AS sorted "
        f"FROM base GROUP BY {keys}, prompt_id) "
        f"SELECT {keys}, sum(total)::BIGINT AS total, sum(failed)::BIGINT AS failed, "
        "sum(n)::BIGINT AS images, count(m) AS prompts, avg(m) AS mean, "
        "stddev_samp(m) AS deviation, sum(seconds) / nullif(sum(timed), 0) AS seconds, "
        f"sum(o) / nullif(sum(sorted), 0) AS o FROM by_prompt GROUP BY {keys}",
        base.values,
    )


def matched(view: View, entry: Entry, table: str, axes: Sequence[Axis]) -> Query:
    """Rows: a0.., slot (1..per), image_key, s, among, prompt_id, seed; by slot.

    A slot is one prompt and seed, the same in every cell; where a cell has several images of it
    (`among`: hidden settings), the one with the middle score. Slots go to what most cells have,
    different prompts first. Without blocks that recipes share: each cell's first images.
    """
    base = _base(view, entry, table, axes, "NULL")
    made = f"WITH base AS NOT MATERIALIZED (SELECT * FROM ({base.sql}) WHERE status = 'ok'), "
    keys = [f"a{i}" for i in range(len(axes))]
    cell = ", ".join(keys)
    fixed = [k for k, axis in zip(keys, axes, strict=True) if axis.field.name in known.OF_BLOCKS]
    inside = ", ".join([*fixed, "1"])
    # texts of images are read at the end, for what is shown alone
    shown = (
        f"SELECT {cell}, slot, image_key, s, among, p.prompt_id, p.seed FROM picked p "
        f"JOIN {table} USING (image_id) ORDER BY slot"
    )
    if not entry.paired:
        return Query(
            f"{made} picked AS (SELECT {cell}, image_id, prompt_id, seed, s, 1 AS among, "
            f"row_number() OVER (PARTITION BY {cell} ORDER BY image_id) AS slot "
            f"FROM base QUALIFY slot <= ?) {shown}",
            [*base.values, view.per],
        )
    block = "".join(f"{k}, " for k in fixed) + "prompt_id, seed"
    same = " AND ".join([f"t.{k} IS NOT DISTINCT FROM c.{k}" for k in fixed])
    same += (" AND " if same else "") + "t.prompt_id = c.prompt_id AND t.seed = c.seed"
    return Query(
        f"{made} counts AS (SELECT {block}, count(*) AS c FROM base GROUP BY {block}), "
        f"nth AS (SELECT *, row_number() OVER (PARTITION BY {inside}, prompt_id "
        "ORDER BY c DESC, seed) AS k FROM counts), "
        f"slots AS (SELECT *, row_number() OVER (PARTITION BY {inside} "
        "ORDER BY c DESC, k, prompt_id) AS slot FROM nth QUALIFY slot <= ?), "
        f"met AS (SELECT t.*, c.slot FROM base t JOIN slots c ON {same}), "
        f"picked AS (SELECT {cell}, slot, image_id, prompt_id, seed, s, "
        f"count(*) OVER (PARTITION BY {cell}, slot) AS among, "
        f"row_number() OVER (PARTITION BY {cell}, slot ORDER BY s NULLS LAST, image_id) AS r "
        f"FROM met QUALIFY r = (among + 1) // 2) {shown}",
        [*base.values, view.per],
    )


def images(view: View, entry: Entry, table: str, *, first: int, count: int) -> Query:
    """Images in the view's order from number `first`; `s`: the score, `o`: what they are sorted by.

    `lower`: the safe end of the interval of an image's recipe.
    """
    condition, values = where(view, entry)
    sort = view.sort.removeprefix("-")
    order, source, o = "image_id", table, "NULL"
    given: list[Any] = []
    if sort == "lower":
        source, o, given = _with_lower(view, entry, table)
    elif sort != "order":
        o = _number(sort)
    if sort != "order":
        better_first = known.higher_is_better(_sorted_by(view), entry)
        down = better_first is not view.sort.startswith("-")
        order = f"o {'DESC' if down else 'ASC'} NULLS LAST, image_id"
    return Query(
        f"SELECT {IMAGE}, {_number(view.score)} AS s, {o} AS o FROM {source} WHERE {condition} "
        f"ORDER BY {order} LIMIT ? OFFSET ?",
        [*given, *values, count, first],
    )


def _sorted_by(view: View) -> str:
    sort = view.sort.removeprefix("-")
    return (view.score or "") if sort == "lower" else sort


def _with_lower(view: View, entry: Entry, table: str) -> tuple[str, str, list[Any]]:
    sign = "-" if known.higher_is_better(view.score or "", entry) else "+"
    width = "(?::DOUBLE[])[least(count(m), ?) + 1] * stddev_samp(m) / sqrt(count(m))"
    by_prompt = (
        f"SELECT recipe_id, avg({_number(view.score)}) AS m FROM {table} "
        "GROUP BY recipe_id, prompt_id"
    )
    lows = f"SELECT recipe_id, avg(m) {sign} {width} AS safe FROM ({by_prompt}) GROUP BY recipe_id"
    source = f"(SELECT t.*, lows.safe FROM {table} t LEFT JOIN ({lows}) lows USING (recipe_id))"
    return source, "safe", [list(t_quantiles()), MOST_UNITS]


def counts(view: View, entry: Entry, table: str) -> Query:
    """One row: total, failed, scored, recipes, prompts of what the filters leave."""
    condition, values = where(view, entry)
    return Query(
        "SELECT count(*) AS total, count(*) FILTER (status <> 'ok') AS failed, "
        f"count({_number(view.score)}) AS scored, count(DISTINCT recipe_id) AS recipes, "
        f"count(DISTINCT prompt_id) AS prompts FROM {table} WHERE {condition}",
        values,
    )
