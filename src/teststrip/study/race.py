"""Racing: start every recipe on few blocks, go on only with those that may still win.

All comparisons are paired (the same blocks for all) and clustered (the mean of prompt means, so
that a prompt with more blocks counts no more). In simulated worlds of 48 recipes and 8 prompts
x 4 seeds, halving 4 -> 32 found the best recipe (of these prompts) as often as running all 32
blocks, P about .6, and one of the top three in .9, for 480 images instead of 1,536; see
`benchmarks/evidence/images_needed.py`, which runs the classes below.

`Halving` (default). Successive halving (Karnin et al. 2013; Jamieson & Talwalkar 2016,
arXiv 1502.07943): after 4, 8, 16, 32 blocks the better 1/eta go on, but never fewer than `keep`.
    Where all recipes are known (grid, sobol, random, factorial) they race together. Where a sampler
    proposes them (tpe, gp, nsga2) each wave of `ask` recipes races against all earlier ones that
    reached the same rung, as in asynchronous halving (ASHA: Li et al. 2020, arXiv 1810.05934).
    Several objectives: ranked by non-dominated front, then by the primary objective.
`Posterior`. The next images go to the recipes that may still turn out best, until the rest of the
    full grid is not expected to gain anything, see `teststrip.study.posterior`. One objective.
`FRace`. Friedman's test after every block, see `teststrip.study.frace`. One objective.
`Wilcoxon`. Optuna's own WilcoxonPruner (p threshold, `start` = its startup steps) asked after
    every block; the recipes of a wave go block by block together so that batches stay full. It
    compares with the best *finished* recipe only, so the first wave is one recipe. One objective.
`Everything` (`kind: none`). Every recipe runs on every block.

A race never tests anything: what it stops is a decision about cost. Evidence comes afterwards,
on fresh blocks.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teststrip.study.frace import FRace
from teststrip.study.paired import (
    Entrant,
    Floats,
    OutOfBudget,
    Scores,
    clustered_mean,
    front_numbers,
    ranked,
    rungs,
)
from teststrip.study.posterior import Posterior

__all__ = [
    "AnyRace",
    "Entrant",
    "Everything",
    "FRace",
    "Floats",
    "Halving",
    "OutOfBudget",
    "Posterior",
    "Scores",
    "Wilcoxon",
    "clustered_mean",
    "front_numbers",
    "ranked",
    "reported_steps",
    "rungs",
]


@dataclass
class Halving:
    """Successive halving over rungs of blocks; `seen` makes later waves asynchronous."""

    scores: Scores
    rungs: Sequence[int]
    eta: float = 2.0
    keep: int = 3
    reached: dict[str, int] = field(default_factory=dict)
    seen: dict[int, list[str]] = field(default_factory=dict)
    first_wave = None

    def run(self, wave: Sequence[Entrant], also: Mapping[str, int] | None = None) -> None:
        """Race a wave; `reached` then says how many blocks each recipe was run on.

        `also` is made in the same breath (the baseline), so that batches stay full.
        """
        alive = [e.recipe_id for e in wave]
        for blocks in self.rungs:
            self.scores.fetch(dict.fromkeys(alive, blocks) | dict(also or {}))
            self.reached.update(dict.fromkeys(alive, blocks))
            here = self.seen.setdefault(blocks, [])
            here += alive
            if blocks == self.rungs[-1]:
                return
            go_on = max(self.keep, math.ceil(len(here) / self.eta))
            best = set(ranked(here, blocks, self.scores)[:go_on])
            alive = [i for i in alive if i in best]
            if not alive:
                return


@dataclass
class Wilcoxon:
    """Optuna's WilcoxonPruner, asked after every block."""

    scores: Scores
    top: int
    highest_is_best: bool = True
    reached: dict[str, int] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    first_wave = 1

    def run(self, wave: Sequence[Entrant], also: Mapping[str, int] | None = None) -> None:
        """Race a wave block by block. A trial that has an attribute `blocks` was decided before."""
        alive = list(wave)
        for blocks in range(1, self.top + 1):
            self.scores.fetch({e.recipe_id: blocks for e in alive} | dict(also or {}))
            go_on = []
            for entrant in alive:
                self.reached[entrant.recipe_id] = blocks
                if self._stops(entrant, blocks):
                    self.stopped.add(entrant.recipe_id)
                else:
                    go_on.append(entrant)
            alive = go_on
            if not alive:
                return

    def _stops(self, entrant: Entrant, blocks: int) -> bool:
        trial = entrant.trial
        value = float(self.scores.matrix([entrant.recipe_id], blocks)[0, 0, -1])
        decided = trial.user_attrs.get("blocks")
        if decided is not None:
            return bool(blocks == decided < self.top)
        reported = reported_steps(trial)
        if any(step >= blocks for step in reported):
            return False  # before a crash it went on from here; asked again, it would know more
        with warnings.catch_warnings():  # Optuna warns where values are missing
            warnings.simplefilter("ignore")
            if math.isfinite(value) and blocks - 1 not in reported:
                trial.report(value if self.highest_is_best else -value, blocks - 1)
            return blocks < self.top and bool(trial.should_prune())


def reported_steps(trial: Any) -> set[int]:
    """The blocks (from 0) that an Optuna trial has a value for."""
    return set(trial.storage.get_trial(trial._trial_id).intermediate_values)


@dataclass
class Everything:
    """No race: every recipe runs on every block."""

    scores: Scores
    top: int
    reached: dict[str, int] = field(default_factory=dict)
    first_wave = None

    def run(self, wave: Sequence[Entrant], also: Mapping[str, int] | None = None) -> None:
        """Run a wave in full."""
        ids = [e.recipe_id for e in wave]
        self.scores.fetch(dict.fromkeys(ids, self.top) | dict(also or {}))
        self.reached.update(dict.fromkeys(ids, self.top))


AnyRace = Halving | Posterior | FRace | Wilcoxon | Everything
