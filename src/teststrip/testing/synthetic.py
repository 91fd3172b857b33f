"""A generator with a known truth, and the scorer that reads it: for tests, docs and benchmarks.

    score = effects(recipe) + recipe + prompt + seed within prompt + recipe x prompt + residual

Every term but `effects` is a normal number drawn from the hash of its names, so that any process
on any machine agrees. The pictures are real little PNGs that carry the score in their text.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from PIL import Image

from teststrip import png
from teststrip.errors import ConfigError
from teststrip.protocols import OnProgress
from teststrip.recipe import Recipe, Request
from teststrip.records import Generation, Outcome, Progress

Effect = Callable[[Any], float] | Mapping[str, float]
COLUMN = "synthetic@1"
_NORMAL = NormalDist()


class SyntheticGenerator:
    """Makes pictures whose quality is known.

    `effects`: recipe field -> a function of its value, a table `{value: effect}`, or a hill
    `{best: 7, width: 3, height: 1}`. The standard deviations are those that the racing rules were
    simulated with. `delay_s` is slept for each picture.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        sd_recipe: float = 0.25,
        sd_prompt: float = 1.0,
        sd_seed: float = 0.6,
        sd_recipe_prompt: float = 0.25,
        sd_residual: float = 0.5,
        effects: Mapping[str, Effect] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self._seed = seed
        self._sd = (sd_recipe, sd_prompt, sd_seed, sd_recipe_prompt, sd_residual)
        self._effects = dict(effects or {})
        self._delay_s = delay_s
        unknown = set(self._effects) - set(Recipe.model_fields)
        if unknown:
            raise ConfigError(f"effects: no field of a recipe: {', '.join(sorted(unknown))}")

    def fingerprint(self, recipe: Recipe) -> str:
        """The world's own name: its seed, spreads and effects."""
        effects = {k: v for k, v in self._effects.items() if isinstance(v, Mapping)}
        text = f"{self._seed}|{self._sd}|{effects}|{recipe.model}"
        return "synthetic-" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def truth(self, recipe: Recipe, prompts: Sequence[str] = ()) -> float:
        """The recipe's mean score over all prompts and seeds there could be, less what all share.

        With `prompts`, over these alone: their own level is left out, but not how this recipe
        takes to them.
        """
        effects = sum(_effect(e, getattr(recipe, name)) for name, e in self._effects.items())
        taste = [self._normal("recipe x prompt", recipe.recipe_id, prompt) for prompt in prompts]
        own = self._sd[3] * sum(taste) / max(len(taste), 1)
        return effects + self._sd[0] * self._normal("recipe", recipe.recipe_id) + own

    def score(self, request: Request) -> float:
        """What the picture of this request is worth."""
        recipe, prompt, seed = request.recipe.recipe_id, request.block.prompt, request.block.seed
        return (
            self.truth(request.recipe)
            + self._sd[1] * self._normal("prompt", prompt)
            + self._sd[2] * self._normal("seed", prompt, seed)
            + self._sd[3] * self._normal("recipe x prompt", recipe, prompt)
            + self._sd[4] * self._normal("residual", recipe, prompt, seed)
        )

    def generate(
        self, requests: Iterable[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Outcome]:
        """One picture after another."""
        for request in requests:
            began = time.perf_counter()
            if self._delay_s:
                time.sleep(self._delay_s)
            calls = request.recipe.model_calls
            if on_progress is not None:
                on_progress(Progress(request, calls, calls))
            yield self._make(request, began)

    def close(self) -> None:
        """Nothing to free."""

    def _make(self, request: Request, began: float) -> Generation:
        fingerprint = self.fingerprint(request.recipe)
        key = request.image_key(fingerprint)
        facts = {"fingerprint": fingerprint, COLUMN: self.score(request)}
        red, green, blue = bytes.fromhex(key[:6])
        picture = Image.new("RGB", (16, 16), (red, green, blue))
        return Generation(
            request=request,
            image_key=key,
            png=png.write(picture, request, facts | {"image_key": key}),
            seconds=time.perf_counter() - began,
            model_calls=request.recipe.model_calls,
            facts=facts,
        )

    def _normal(self, *names: object) -> float:
        text = "\x1f".join(map(str, (self._seed, *names)))
        share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) + 0.5
        return _NORMAL.inv_cdf(share / 2**56)


class SyntheticScorer:
    """Reads the score out of a synthetic picture's text; NaN for any other picture."""

    columns: Mapping[str, bool] = {COLUMN: True}

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Judge a batch."""
        return [{COLUMN: _read(generation.png)} for generation in generations]


def _read(data: bytes) -> float:
    try:
        return float(png.read(data).facts[COLUMN])
    except (ConfigError, KeyError, TypeError, ValueError):
        return float("nan")


def _effect(effect: Effect, value: Any) -> float:
    if callable(effect):
        return float(effect(value))
    if {"best", "width"} <= set(effect):
        away = (float(value) - effect["best"]) / effect["width"]
        return effect.get("height", 1.0) * (1 - away**2)
    return float(effect.get(str(value), 0.0))
