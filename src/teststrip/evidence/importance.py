"""Which parameters matter: shares of the variance between recipes, against a null band.

Only from a space-filling design (Sobol, random, grid, factorial) and there only from the blocks
that every recipe was shown. A sampler's history is refused: where it crowds, whatever it crowded
around looks important (41 % of "importance" went to parameters that do nothing).
"""

from dataclasses import dataclass

from teststrip.evidence.interval import Interval


@dataclass(frozen=True)
class Term:
    """One parameter, or a pair of them.

    `fields`: one name or two. `share`: of the variance between recipes' means, noise taken off,
    0 to 1, with its bootstrap interval by prompt. `band`: the share that a parameter of this shape
    which does nothing reaches by chance (95 %, corrected for all terms of its kind). `p`: by
    permutation, Holm-corrected. `shown`: above the band. `is_dummy`: it does nothing by
    construction.
    """

    fields: tuple[str, ...]
    share: Interval
    band: float
    p: float
    shown: bool
    is_dummy: bool

    @property
    def name(self) -> str:
        """`guidance` or `guidance x steps`."""
        return " x ".join(self.fields)


@dataclass(frozen=True)
class Importance:
    """Main effects and pair interactions, the largest share first; or why there are none.

    `refused`: empty, or one or two sentences: why, and how to get a screening design.
    `unexplained`: share of the variance between recipes that no term explains (noise included).
    `notes`: what limits it (few prompts, few recipes, interactions left out).
    """

    mains: tuple[Term, ...]
    pairs: tuple[Term, ...]
    recipes: int
    blocks: int
    prompts: int
    unexplained: float | None
    refused: str
    notes: tuple[str, ...]
