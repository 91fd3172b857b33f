"""Shares of variance: how much of a score is recipe, prompt, seed, their interplay, the rest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One source of variance. `share` of the total with its interval, 0 to 1.

    `source`: `recipe`, `prompt`, `seed` (within a prompt), `recipe x prompt`, `residual`; where the
    design cannot tell two of them apart they stand together: `prompt and seed`,
    `recipe x prompt and residual`.
    """

    source: str
    variance: float
    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Future:
    """What more images would buy: `half` is the half-width of the interval of one recipe's gain
    over another with `prompts` x `seeds` for each."""

    prompts: int
    seeds: int
    images: int
    half: float


@dataclass(frozen=True)
class Variance:
    """Shares of variance, from `images` images of `recipes` recipes on `prompts` prompts.

    `now`: the design as it is; `futures`: more prompts, more seeds (first: 8 more prompts).
    `note` says what could not be told apart, or is empty.
    """

    shares: tuple[Share, ...]
    total: float
    images: int
    recipes: int
    prompts: int
    blocks: int
    now: Future | None
    futures: tuple[Future, ...]
    note: str
