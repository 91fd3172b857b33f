"""How small a difference a design can tell, and how many prompts a difference needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in units of the score, that decide how many images are needed.

    `interplay`: recipe x prompt; `residual`: what is left within recipe, prompt and seed. The main
    effects of prompt and seed cancel in paired comparisons. `source`: where they come from, in
    words (`study first`, or `assumed`).
    """

    interplay: float
    residual: float
    source: str
