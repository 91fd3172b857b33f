"""Checkpoints whose pictures come too near to a training picture: memorised, not learnt.

How near is too near is asked of the held-out pictures: honest pictures of the same kind that were
never trained on. A picture counts as a copy where it comes nearer to a training picture than every
held-out picture does. One more honest picture would do so with probability 1 / (n + 1), so that
many are let pass, 5 % more, and what the base model makes itself.

A guard and no test: it drops a checkpoint on suspicion. What comes near is only what the measure
sees (the similarity of CLIP's image features); a low share is no proof that nothing was memorised.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.train.select.measured import BASE, Measured

MOST = 0.05


@dataclass(frozen=True)
class Copies:
    """Pictures at a checkpoint whose similarity to a training picture is above `limit`.

    `allowed`: the share of them that is let pass, beyond `base_share`.
    """

    step: int
    copies: int
    pictures: int
    limit: float
    allowed: float
    base_share: float

    @property
    def share(self) -> float:
        """Of all its pictures that were judged."""
        return self.copies / self.pictures if self.pictures else 0.0

    def __str__(self) -> str:
        return (
            f"{self.copies} of its {self.pictures} pictures come nearer to a training picture than "
            f"{self.limit:.3f}: memorised"
        )

    @property
    def too_many(self) -> bool:
        """More than honest pictures and the base model, which has seen none of them, account for"""
        return self.share - self.base_share > self.allowed


def copies_of(run: Measured, limit: float | None = None) -> dict[int, Copies]:
    """Of each checkpoint; empty where nearness, or what is honest, is not known.

    `limit`: a similarity, given by whoever knows better than the held-out pictures.
    """
    column = run.nearest
    if column is None or run.samples is None:
        return {}
    groups = {int(step): rows[column] for step, rows in run.samples.groupby("step")}
    base = groups.pop(BASE, ())
    found = {step: copies_in(run, step, values, base, limit) for step, values in groups.items()}
    return {step: copies for step, copies in found.items() if copies is not None}


def copies_in(
    run: Measured,
    step: int,
    nearness: Iterable[float],
    base: Iterable[float],
    limit: float | None = None,
) -> Copies | None:
    """Of some pictures of a checkpoint beside the base model's; None where nothing is known."""
    if limit is None and not run.honest:
        return None
    allowed = MOST if limit is not None else MOST + 1 / (len(run.honest) + 1)
    limit = max(run.honest) if limit is None else limit
    known = [value for value in nearness if math.isfinite(value)]
    own = [value for value in base if math.isfinite(value)]
    return Copies(
        step=step,
        copies=sum(value > limit for value in known),
        pictures=len(known),
        limit=limit,
        allowed=allowed,
        base_share=sum(value > limit for value in own) / len(own) if own else 0.0,
    )


def honest_nearness(source: Path, manifest: Path, options: Mapping[str, Any]) -> tuple[float, ...]:
    """Of each held-out picture: its similarity to the nearest training picture.

    `options`: of the CLIP that the run was judged with. Raises ConfigError, ModelError.
    """
    from teststrip.score.likeness import LikenessScorer

    told = {**options, "folder": str(source), "manifest": str(manifest)}
    train, held_out = (
        LikenessScorer(**told, split=split).vectors for split in ("train", "held_out")
    )
    return tuple(float(value) for value in (held_out @ train.T).max(dim=1).values)
