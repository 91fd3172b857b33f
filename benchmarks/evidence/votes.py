"""Do intervals of people's votes hold the truth, and how often does a headline claim luck?

    python benchmarks/evidence/votes.py --worlds 200 --studies 100

Votes: simulated raters of known truth (Davidson's model; a tie weighs exp(-0.5), the left side has
0.3 log odds). Strengths have deviation 0.8, or 0 where nobody prefers anything; with `taste`, each
prompt has strengths of its own around them, and the truth is the fit to 400,000 votes. A missed
truth without preference is a recipe that stands out by luck.

Studies: 12 recipes, 8 prompts x 4 seeds, all recipes equal on average, raced or in full; counted
is how often the report's headline claims a finding. Prints Markdown tables.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from teststrip.evidence import bradley_terry
from teststrip.evidence.analysis import analyse
from teststrip.evidence.answer import answer
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.people import CHOICES, Vote, people
from teststrip.evidence.table import checked

LEFT, TIE, SPREAD, TASTE = 0.3, -0.5, 0.8, 0.5
BIG = (20_000, 20)  # prompts x votes for the truth where prompts differ


@dataclass(frozen=True)
class Design:
    """How much was voted on."""

    recipes: int
    prompts: int
    votes: int  # for each prompt
    taste: float = 0.0


DESIGNS = (
    Design(6, 8, 12, TASTE),
    Design(6, 16, 12, TASTE),
    Design(6, 32, 10),
    Design(12, 24, 10, TASTE),
    Design(12, 64, 8, TASTE),
    Design(12, 8, 4),
    Design(30, 12, 5),
)


def drawn(rng, truth, design, prompts=None, votes=None):
    """(left, right, choice, prompt) of simulated votes."""
    prompts, votes = prompts or design.prompts, votes or design.votes
    k, n = len(truth), prompts * votes
    a = rng.integers(0, k, n)
    b = (a + rng.integers(1, k, n)) % k
    prompt = np.repeat(np.arange(prompts), votes)
    own = truth + design.taste * rng.normal(size=(prompts, k))
    d = own[prompt, a] - own[prompt, b] + LEFT
    weight = np.stack([np.exp(d / 2), np.exp(-d / 2), np.full(n, np.exp(TIE))], axis=1)
    upto = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)
    return a, b, (rng.random(n)[:, None] > upto[:, :2]).sum(axis=1), prompt


def fitted_to_many(rng, truth, design):
    """(strengths, left, share of ties) that endless votes would give."""
    a, b, choice, prompt = drawn(rng, truth, design, *BIG)
    found = bradley_terry.fit(bradley_terry.tally(a, b, choice, prompt, len(truth)))
    ties = float((choice == bradley_terry.TIE).mean())
    if not design.taste:
        return truth, LEFT, ties
    return found.strength[0], float(found.left[0]), ties


def row(design: Design, worlds: int, *, preference: bool, seed: int) -> str:
    """One line of the table."""
    rng = np.random.default_rng([seed, design.recipes, design.prompts, preference])
    truth = rng.normal(0, SPREAD, design.recipes) * preference
    truth -= truth.mean()
    target, left, ties = fitted_to_many(rng, truth, design)
    hits, sides, width, lefts, tied = [], [], [], [], []
    for _ in range(worlds):
        votes = [
            Vote(f"p{p}", n, f"r{i}", f"r{j}", CHOICES[c])
            for n, (i, j, c, p) in enumerate(zip(*drawn(rng, truth, design), strict=True))
        ]
        found = people(votes)
        for s in found.strengths:
            if s.strength.known:
                goal = target[int(s.recipe_id[1:])]
                hits.append(s.strength.low <= goal <= s.strength.high)
                width.append((s.strength.high - s.strength.low) / 2)
        sides.append(found.left_bias.low <= left <= found.left_bias.high)
        lefts.append(found.left_bias.mean)
        tied.append(found.ties)
    return (
        f"| {'yes' if preference else 'none'} | {design.recipes} | {design.prompts} x "
        f"{design.votes} | {design.taste:g} | {share(hits)} | {np.median(width):.2f} | "
        f"{share(sides)} | {np.mean(lefts):+.2f} ({left:+.2f}) | {np.mean(tied):.3f} ({ties:.3f}) |"
    )


def share(hits: Sequence[bool]) -> str:
    """Percent with its standard error, as if all were independent."""
    p = float(np.mean(hits))
    return f"{100 * p:.1f} ± {100 * (p * (1 - p) / len(hits)) ** 0.5:.1f}"


def null_study(seed: int, *, raced: bool, heavy: bool) -> pd.DataFrame:
    """The table of a study in which no recipe is better on average."""
    rng = np.random.default_rng([seed, raced, heavy])
    recipes, prompts, seeds = 12, 8, 4
    prompt = np.tile(np.arange(prompts), seeds)
    blocks = len(prompt)
    noise = rng.standard_t(3, (recipes, blocks)) if heavy else rng.normal(size=(recipes, blocks))
    values = (
        rng.normal(0, 1, prompts)[prompt]
        + rng.normal(0, 0.6, blocks)
        + rng.normal(0, 0.25, (recipes, prompts))[:, prompt]
        + 0.5 * noise
    )
    made = np.ones(values.shape, dtype=bool)
    if raced:
        alive, upto = np.arange(recipes), 4
        made[:, 4:] = False
        while upto < blocks:
            best = np.argsort(-values[alive, :upto].mean(axis=1))
            alive, upto = alive[best[: max(3, -(-len(alive) // 2))]], 2 * upto
            made[alive, :upto] = made[0, :upto] = True
    i, b = np.nonzero(made)
    return pd.DataFrame(
        {
            "recipe_id": np.char.add("r", i.astype(str)),
            "prompt_id": np.char.add("p", prompt[b].astype(str)),
            "seed": b // prompts,
            "block": b,
            "recipe.steps": i,
            "clip@1": values[i, b],
        }
    )


def claims(studies: int, *, raced: bool, heavy: bool, baseline: str | None) -> int:
    """Null studies whose headline claims a finding."""
    facts = StudyFacts(name="null", objective="clip@1", baseline=baseline)
    return sum(
        answer(analyse(checked(null_study(k, raced=raced, heavy=heavy)), facts)).found
        for k in range(studies)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=200, help="sets of votes for each line")
    parser.add_argument("--studies", type=int, default=100, help="null studies for each line")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    print(
        "| preference | recipes | prompts x votes | taste | truth inside, % | half width "
        "| left inside, % | left (truth) | ties (truth) |"
    )
    print("|---" * 9 + "|")
    for preference in (True, False):
        for design in DESIGNS:
            if asked.worlds:
                print(row(design, asked.worlds, preference=preference, seed=asked.seed), flush=True)
    print("\n| null studies | scores | baseline | headline claims a finding |\n|---|---|---|---|")
    for raced in (True, False) if asked.studies else ():
        for heavy in (False, True):
            for baseline in ("r0", None):
                found = claims(asked.studies, raced=raced, heavy=heavy, baseline=baseline)
                print(
                    f"| {'raced' if raced else 'in full'} | {'t(3)' if heavy else 'normal'} | "
                    f"{'yes' if baseline else 'none'} | {found} of {asked.studies} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
