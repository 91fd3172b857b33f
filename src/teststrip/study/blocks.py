"""The blocks of a study: the same (prompt, seed) pairs, in the same order, for every recipe."""

from collections.abc import Sequence
from dataclasses import dataclass

from teststrip.recipe import Block
from teststrip.study.prompts import Prompt, hash_share

SEED_RANGE = 2**32


@dataclass(frozen=True)
class StudyBlock:
    """A block, its place in the order and what the table says about its prompt."""

    index: int
    block: Block
    tags: tuple[str, ...]
    split: str


def order_blocks(
    prompts: Sequence[Prompt], seeds: Sequence[int], split: str, salt: int = 0
) -> tuple[StudyBlock, ...]:
    """All prompts once with the first seed, then all again with the second, and so on.

    The first n blocks are so spread over as many prompts as there are, which is what makes a
    short rung of a race worth most (prompts are a larger source of variance than seeds). The
    order of prompts is a fixed shuffle by hash of text and `salt`. Every prompt has the same
    seeds, so that the seed's own share of the variance can be estimated.
    """
    shuffled = sorted(prompts, key=lambda p: hash_share(f"{salt}|{p.text}"))
    pairs = [(prompt, seed) for seed in seeds for prompt in shuffled]
    return tuple(
        StudyBlock(i, Block(prompt=p.text, seed=seed % SEED_RANGE), p.tags, split)
        for i, (p, seed) in enumerate(pairs)
    )
