"""Three traffics of 64 requests: what a study, a sweep and a service send to an engine."""

import random

from teststrip import Block, Recipe, Request

PROMPTS = (
    "a photo of a red apple on a green background",
    "a commercial studio photo of a penguin on a white background",
    "a picture of a robot on a blue background",
    "a photo of a house on a yellow background",
)
SCHEDULERS = ("ddim", "euler", "euler_a", "dpmpp_2m_karras", "unipc")


def mixed(model: str, count: int = 64) -> list[Request]:
    """5 noise schedulers x 4 step counts x 4 guidances, drawn at random: 41 or so groups."""
    rng = random.Random(1)
    return [
        _request(
            model,
            number,
            scheduler=rng.choice(SCHEDULERS),
            steps=rng.choice((8, 12, 16, 20)),
            guidance=rng.choice((1.0, 3.0, 5.0, 7.5)),
        )
        for number in range(count)
    ]


def sweep(model: str, count: int = 64) -> list[Request]:
    """8 recipes x 8 blocks: the traffic that plain list-batching likes best."""
    recipes = [(s, g) for s in ("euler", "dpmpp_2m") for g in (2.0, 3.0, 5.0, 7.5)]
    return [
        _request(model, number % 8, scheduler=scheduler, steps=20, guidance=guidance)
        for scheduler, guidance in recipes
        for number in range(count // len(recipes))
    ]


def steps(model: str, count: int = 64) -> list[Request]:
    """One noise scheduler and guidance, 5 to 50 steps."""
    rng = random.Random(2)
    return [
        _request(model, number, scheduler="euler", steps=rng.randint(5, 50), guidance=5.0)
        for number in range(count)
    ]


def _request(model: str, number: int, **fields: object) -> Request:
    block = Block(prompt=PROMPTS[number % len(PROMPTS)], seed=number)
    return Request(recipe=Recipe(model=model, **fields), block=block)


TRAFFICS = {"mixed": mixed, "sweep": sweep, "steps": steps}
