"""Is the best recipe best for every kind of prompt? Its gain by the prompts' tags."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from teststrip.evidence.grid import Grid
from teststrip.evidence.interval import Interval, holm, interval, p_value
from teststrip.evidence.ranking import Ranking

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = ";"
MOST = 40


@dataclass(frozen=True)
class Kind:
    """One tag: the best recipe's gain over the reference on its prompts, positive is good.

    `p`: two-sided, Holm-corrected over all tags; 1 where there are too few prompts to say.
    """

    tag: str
    gain: Interval
    p: float
    images: int
    prompts: int


def kinds(
    table: "pd.DataFrame", grid: Grid, ranking: Ranking, confidence: float
) -> tuple[Kind, ...]:
    """One row per tag (at most 40, the most frequent), the smallest gain first.

    Empty where fewer than two tags are there or the best recipe is the reference itself: then
    there is no gain to split. The unit is the prompt mean; one prompt alone gives no interval.
    """
    if ranking.best == ranking.reference:
        return ()
    search = table[table["split"] == "search"].drop_duplicates("prompt_id")
    tags = {
        str(row.prompt_id): {t.strip() for t in str(row.tags).split(SEPARATOR) if t.strip()}
        for row in search[["prompt_id", "tags"]].itertuples(index=False)
    }
    names = sorted({tag for own in tags.values() for tag in own})
    if len(names) < 2:
        return ()
    best, other = (grid.recipes.index(name) for name in (ranking.best, ranking.reference))
    lead = grid.sign * (grid.values[best] - grid.values[other])
    found = []
    for tag in names:
        mine = np.array([tag in tags.get(name, ()) for name in grid.prompt_ids])
        kept = np.where(mine[grid.prompt_index], lead, np.nan)
        means = grid.prompt_means(kept)
        units = means[np.isfinite(means)]
        if len(units):
            p = p_value(units)
            found.append(
                Kind(tag, interval(units, confidence), p, int(np.isfinite(kept).sum()), len(units))
            )
    found = sorted(found, key=lambda kind: -kind.prompts)[:MOST]
    adjusted = holm(np.array([kind.p for kind in found]))
    out = [
        Kind(k.tag, k.gain, float(p), k.images, k.prompts)
        for k, p in zip(found, adjusted, strict=True)
    ]
    return tuple(sorted(out, key=lambda kind: kind.gain.mean))
