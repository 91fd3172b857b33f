"""Which scorer agrees with people's eyes: each vote asks whether the chosen picture scores higher.

The share's interval is Korn and Graubard's (1998) for a proportion in clusters: Clopper-Pearson's,
with the number of votes that independent ones would need for the same spread between prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from teststrip.evidence.grid import Floats, Ints
from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import count, percent
from teststrip.evidence.people import Vote

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Eyes:
    """Decided votes on pictures that the scorer judged.

    `agrees` [V]: 1, 0, or 1/2 where both pictures score the same. `prompt` [V]: prompt numbers.
    `place` [V]: each vote's place among all decided votes (scorers are compared on the same ones).
    """

    agrees: Floats
    prompt: Ints
    place: Ints

    @property
    def votes(self) -> int:
        """Pairs behind the share."""
        return len(self.agrees)

    def share(self, confidence: float) -> Interval:
        """Share of pairs in which the chosen picture scores higher, with its interval by prompt."""
        if not self.votes:
            return Interval(float("nan"), None, None, 0)
        share, error, prompts = _clustered(self.agrees, self.prompt)
        if error is None:
            return Interval(share, None, None, prompts)
        low, high = _proportion(share, error, self.votes, prompts, confidence)
        return Interval(share, low, high, prompts)


def judged(table: "pd.DataFrame", column: str, sign: int, votes: Sequence[Vote]) -> Eyes:
    """The decided votes against one score; `sign` -1 where a lower score is better."""
    import pandas as pd

    decided = [v for v in votes if v.choice != "tie"]
    if not decided:
        none = np.zeros(0)
        return Eyes(none, none.astype(np.intp), none.astype(np.intp))
    rows = table.drop_duplicates(["recipe_id", "prompt_id", "seed"])
    places = pd.MultiIndex.from_frame(rows[["recipe_id", "prompt_id", "seed"]])
    scores = np.append(sign * rows[column].astype(float).to_numpy(), np.nan)  # -1: not there
    left, right = (
        scores[
            places.get_indexer(
                pd.MultiIndex.from_tuples([(getattr(v, s), v.prompt_id, v.seed) for v in decided])
            )
        ]
        for s in ("left", "right")
    )
    better, worse = (
        np.where([v.choice == side for v in decided], left, right) for side in ("left", "right")
    )
    known = np.isfinite(left) & np.isfinite(right)
    better, worse = better[known], worse[known]
    prompts = pd.factorize(pd.Series([v.prompt_id for v in decided])[known])[0]
    agrees = (better > worse) + 0.5 * (better == worse)
    return Eyes(agrees.astype(float), prompts.astype(np.intp), np.flatnonzero(known))


def by_eye(eyes: Mapping[str, Eyes], confidence: float) -> str:
    """Which scorer agrees best with the votes, against the next one; a sentence or two."""
    able = {c: e for c, e in eyes.items() if e.votes}
    if not able:
        return "No decided vote is on pictures that have a score."
    shares = {c: e.share(confidence) for c, e in able.items()}
    order = sorted(able, key=lambda c: (-shares[c].mean, c))
    best = order[0]
    text = f"{best} agrees with people on {_described(shares[best], able[best], confidence)}"
    if len(order) > 1:
        text += f"; {order[1]} on {_described(shares[order[1]], able[order[1]], confidence)}"
        text += f". {_against(best, order[1], able, confidence)}"
    low = shares[best].low
    if low is None or low <= 0.5:
        text += f"{'' if text.endswith('.') else '.'} {best} is not distinguishable from guessing"
    return text + ("" if text.endswith(".") else ".")


def _described(share: Interval, eyes: Eyes, confidence: float) -> str:
    text = f"{percent(share.mean)} of {count(eyes.votes, 'decided pair')}"
    if share.low is None:
        return f"{text} (one prompt, no interval)"
    where = count(share.units, "prompt")
    span = f"{percent(share.low)} to {percent(share.high)}"
    return f"{text} on {where} ({percent(confidence)} interval {span})"


def _against(first: str, second: str, eyes: Mapping[str, Eyes], confidence: float) -> str:
    """Are two scorers distinguishable on the votes that both judged?"""
    from scipy import stats

    a, b = eyes[first], eyes[second]
    _, i, j = np.intersect1d(a.place, b.place, return_indices=True)
    unclear = f"The two are not distinguishable on {count(len(i), 'shared pair')}"
    if not len(i):
        return unclear
    gap, error, prompts = _clustered(a.agrees[i] - b.agrees[j], a.prompt[i])
    if error is None:
        return unclear
    reach = float(stats.t.ppf(0.5 + confidence / 2, prompts - 1)) * error
    span = f"{_points(max(gap - reach, -1.0))} to {_points(min(gap + reach, 1.0))} points"
    sure = gap > reach if error > 0 else gap > 0 and 2.0 ** (1 - prompts) < 1 - confidence
    if not sure:
        if error == 0:
            return unclear
        return f"{unclear} (difference {_points(gap)}, {percent(confidence)} interval {span})"
    return (
        f"{first} is better: {_points(gap)} points more on {count(len(i), 'shared pair')} "
        f"({percent(confidence)} interval {span})"
    )


def _points(share: float) -> str:
    return f"{round(100 * share):+d}".replace("+0", "0").replace("-", "−")


def _clustered(values: Floats, prompt: Ints) -> tuple[float, float | None, int]:
    """(mean of [V], its standard error by prompt or None with one, prompts): a ratio estimate."""
    labels = np.unique(prompt, return_inverse=True)[1]
    sizes = np.bincount(labels)
    prompts = len(sizes)
    mean = float(values.mean())
    if prompts < 2:
        return mean, None, prompts
    off = np.bincount(labels, weights=values - mean)
    error = float(np.sqrt((off**2).sum() * prompts / (prompts - 1))) / len(values)
    return mean, error, prompts


def _proportion(
    share: float, error: float, votes: int, prompts: int, confidence: float
) -> tuple[float, float]:
    from scipy import stats

    tail = (1 - confidence) / 2
    fewer = stats.t.ppf(1 - tail, votes - 1) / stats.t.ppf(1 - tail, prompts - 1)
    own = share * (1 - share) / error**2 if error > 0 and 0 < share < 1 else float(prompts)
    n = min(own * float(fewer) ** 2, float(votes))
    hits = share * n
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high
