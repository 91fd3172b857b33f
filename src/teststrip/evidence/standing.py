"""How consistently good a recipe is: P(best), lower bound, worst tenth, pass rate, prompts lost."""

from dataclasses import dataclass

from teststrip.evidence.interval import Interval


@dataclass(frozen=True)
class Standing:
    """What else is known of one recipe, beside its place in the ranking.

    `p_best`: probability that it is the best of all recipes of the study, over prompts in general
    (posterior of the mixed model; the recipes' sum is 1). `gain`: its advantage over the reference,
    shrunk by the mixed model, which takes the winner's curse off, with its credible interval;
    positive is good, None for the reference. `lower`: the bad end of the interval of its mean
    score, in raw units. `worst_tenth`: the score that its worst 10 % of images do not reach
    (raw units), by prompt-bootstrap interval. `passes`: share of images that reach the study's
    threshold with its interval; None without threshold. `loses_on`: prompts on which its mean is
    behind the reference's, of `prompts` shared. `images`, `prompts` stand behind all of it.
    """

    recipe_id: str
    p_best: float
    gain: Interval | None
    lower: float | None
    worst_tenth: Interval
    passes: Interval | None
    loses_on: int | None
    images: int
    prompts: int
