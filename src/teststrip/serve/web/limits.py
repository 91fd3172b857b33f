"""Limits: on what may be asked for (422), how often and how much (429), how much waits (503)."""

import asyncio

from teststrip.recipe import Recipe
from teststrip.serve.config import ServiceConfig
from teststrip.serve.parts import Parts
from teststrip.serve.state.base import Allowed
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.catalog import Catalog, Resolved
from teststrip.serve.web.problems import Problem
from teststrip.serve.web.schemas import Wish

FULL_RETRY_S = 10.0
DAY_S = 86400
NATIVE = 512  # side of a picture whose model told no size


def faults_of_wish(config: ServiceConfig, wish: Wish, prompt: str) -> list[str]:
    """What a wish has too much of, one line each."""
    faults = []
    count = len(wish.seeds) if wish.seeds is not None else wish.n or 1
    if count > config.max_n:
        faults.append(f"{'seeds' if wish.seeds else 'n'}: at most {config.max_n} pictures a job")
    if len(prompt) > config.max_prompt_chars:
        faults.append(f"prompt: {len(prompt)} characters; at most {config.max_prompt_chars}")
    return faults


async def faults_of_recipe(
    parts: Parts, catalog: Catalog, caller: Caller, wish: Wish, resolved: Resolved
) -> list[str]:
    """What a recipe has too much of, and what this caller may not name in it."""
    config, recipe = parts.config, resolved.recipe
    faults = []
    if recipe.steps > config.max_steps:
        faults.append(f"steps: {recipe.steps}; at most {config.max_steps}")
    for name in ("negative_prompt", "prompt_template"):
        if len(getattr(recipe, name)) > config.max_prompt_chars:
            faults.append(f"{name}: at most {config.max_prompt_chars} characters")
    if recipe.width is not None or recipe.height is not None:
        told = (await catalog.models()).get(recipe.model, {})
        width = recipe.width or int(told.get("width", NATIVE))
        height = recipe.height or int(told.get("height", NATIVE))
        if width * height > config.max_pixels:
            faults.append(f"width, height: {width} x {height}; at most {config.max_pixels} pixels")
    own = isinstance(wish.recipe, Recipe)
    if own or "model" in wish.changes:
        faults += _model_faults(config, recipe)
    if (own or {"loras", "revision"} & set(wish.changes)) and not caller.may("study"):
        for name in ("loras", "revision"):
            if getattr(recipe, name):
                faults.append(f"{name}: only keys with the scope study may name them")
    return faults


def _model_faults(config: ServiceConfig, recipe: Recipe) -> list[str]:
    if recipe.model in config.models:
        return []
    return [f"model: {recipe.model!r} is not served; accepted: {', '.join(config.models)}"]


async def check(parts: Parts, caller: Caller, images: int, requests: int = 1) -> None:
    """Raises Problem 429 or 503 where `requests` more jobs with `images` pictures are too many."""
    config = parts.config
    mine, everybody = await asyncio.gather(parts.state.counts(caller.id), parts.state.counts())
    if everybody.get("queued", 0) + requests > config.max_queued:
        parts.metrics.refused.labels("full").inc()
        raise Problem(503, "queue-full", "the queue is full; try again later", retry_s=FULL_RETRY_S)
    most = min(caller.max_queued or config.max_queued_per_key, config.max_queued_per_key)
    if mine.get("queued", 0) + requests > most:
        parts.metrics.refused.labels("queued").inc()
        raise Problem(
            429,
            "too-many-queued",
            f"this key has {mine.get('queued', 0)} jobs waiting; at most {most}",
            retry_s=FULL_RETRY_S,
        )
    if caller.per_minute:
        allowed = await parts.state.take(
            f"rate:{caller.id}", requests, caller.per_minute / 60, caller.per_minute
        )
        _stop(parts, allowed, "rate", f"at most {caller.per_minute} jobs a minute")
    if caller.images_per_day:
        allowed = await parts.state.take(
            f"day:{caller.id}", images, caller.images_per_day / DAY_S, caller.images_per_day
        )
        _stop(parts, allowed, "day", f"at most {caller.images_per_day} pictures a day")


def _stop(parts: Parts, allowed: Allowed, why: str, limit: str) -> None:
    if not allowed.ok:
        parts.metrics.refused.labels(why).inc()
        raise Problem(
            429,
            "rate-limited",
            f"this key makes {limit}; {allowed.left} are left now",
            retry_s=allowed.retry_s,
        )
