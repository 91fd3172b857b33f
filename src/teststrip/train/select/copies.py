"""Checkpoints whose pictures come too near to a training picture: memorised, not learnt.

A guard and no test: it drops a checkpoint on suspicion, since a copy that is let through costs
more than a checkpoint that is dropped. What comes near is only what the measure sees (a
similarity of CLIP's image features, see docs/scorers.md); a low share is no proof that nothing
was memorised.
"""

from dataclasses import dataclass

from teststrip.train.select.measured import BASE, Measured

LIMIT = 0.95  # similarity from which a picture counts as a copy
MOST = 0.05  # share of copies that is let pass, beyond the base model's own


@dataclass(frozen=True)
class Copies:
    """Pictures at a checkpoint whose similarity to a training picture reaches `limit`."""

    step: int
    copies: int
    pictures: int
    base_share: float
    limit: float

    @property
    def share(self) -> float:
        """Of all its pictures that were judged."""
        return self.copies / self.pictures if self.pictures else 0.0

    @property
    def too_many(self) -> bool:
        """More than 5 % beyond what the base model makes, which has seen none of them."""
        return self.share - self.base_share > MOST


def copies_of(run: Measured, limit: float = LIMIT) -> dict[int, Copies]:
    """Of each checkpoint; empty where nearness was not measured."""
    column = run.nearest
    if column is None or run.samples is None:
        return {}
    known = run.samples[run.samples[column].notna()]
    groups = {int(step): rows[column] for step, rows in known.groupby("step")}
    base = groups.get(BASE)
    own = float((base >= limit).mean()) if base is not None and len(base) else 0.0
    return {
        step: Copies(step, int((values >= limit).sum()), len(values), own, limit)
        for step, values in groups.items()
        if step != BASE
    }
