"""Where a wall starts: the two settings that move the objective most, on the search's images."""

# ruff: noqa: S608 - columns come quoted from `fields`, tables from the index, values through `?`

from functools import lru_cache

from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.axes import axis_of
from teststrip.studio.wall.view import View


@lru_cache(maxsize=64)  # an entry is another one as soon as its images change
def first_view(entry: Entry, index: Index) -> View:
    """X moves the objective most, Y next; the two first settings where no image is scored.

    Held-out images are left out at first: their prompts are others, so that means would not
    compare. Studies with one setting have X alone; without any there are no axes.
    """
    names = _by_spread(entry, index)
    table = index.table(entry.name)
    splits = index.query(f"SELECT DISTINCT split FROM {table} WHERE split IS NOT NULL LIMIT 3")
    both = len(splits) > 1 and "search" in {row["split"] for row in splits}
    return View(
        study=entry.name,
        x=names[0] if names else None,
        y=names[1] if len(names) > 1 else None,
        score=entry.objective,
        sets=(("split", ("search",)),) if both else (),
    )


def _by_spread(entry: Entry, index: Index) -> list[str]:
    """Settings, the one with the largest share of the objective's variance first.

    Of the variance between recipes' means, corrected for the number of levels (epsilon squared), so
    that a continuous setting, another one in each recipe, does not win by that. Leads are used
    where recipes share blocks: prompts drop out.
    """
    names = [setting.field for setting in entry.settings]
    if entry.objective is None:
        return names
    score = known.quoted("lead" if entry.paired else entry.objective)
    shares = {}
    for name in names:
        axis = axis_of(name, entry, index)
        found = index.query(
            f"WITH base AS (SELECT {axis.sql} AS a, avg({score}) AS s FROM "
            f"{index.table(entry.name)} WHERE isfinite({score}) GROUP BY recipe_id, a), "
            "levels AS (SELECT a, count(*) AS n, avg(s) AS m, var_pop(s) * count(*) AS w "
            "FROM base GROUP BY a) SELECT count(*) AS k, sum(n) AS n, "
            "sum(w) AS inside, sum(n * m * m) - sum(n * m) ^ 2 / nullif(sum(n), 0) AS between_ "
            "FROM levels",
            axis.tops,
        )[0]
        k, n = found["k"], found["n"] or 0
        total = (found["inside"] or 0.0) + (found["between_"] or 0.0)
        if k < 2 or n <= k or total <= 0:
            shares[name] = 0.0
            continue
        shares[name] = (found["between_"] - (k - 1) * found["inside"] / (n - k)) / total
    return sorted(names, key=lambda name: -shares[name])
