"""What was asked for in OpenAI's words, as a wish of ours."""

from typing import Any

from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.recipe import Recipe, short_hash
from teststrip.serve.parts import Parts
from teststrip.serve.web.catalog import CHAMPION, DEFAULT, Catalog
from teststrip.serve.web.openai_body import ImagesBody
from teststrip.serve.web.openai_faults import OpenAIFault
from teststrip.serve.web.problems import Problem
from teststrip.serve.web.schemas import Wish

USER = "user"  # the label that holds OpenAI's safety_identifier


async def names(parts: Parts, catalog: Catalog) -> list[str]:
    """What `model` may say, the default first."""
    recipes = [resolved.name for resolved in await catalog.recipes()]
    return list(dict.fromkeys([*recipes, *parts.config.models]))


async def wish_of(parts: Parts, catalog: Catalog, body: ImagesBody) -> Wish:
    """Raises OpenAIFault for a model that is not there or fields that no recipe can have."""
    changes = _changes(body)
    recipe: str | Recipe = body.model or DEFAULT
    try:
        if body.model is not None and not await _is_recipe(catalog, body.model):
            if body.model not in parts.config.models:
                raise no_model(body.model)
            told = (await catalog.models()).get(body.model, {})
            fields = {"model": body.model} | dict(told.get("defaults", {})) | changes
            recipe, changes = parse(Recipe, fields, "recipe"), {}
        return parse(
            Wish,
            {
                "prompt": body.prompt,
                "recipe": recipe,
                "changes": changes,
                "n": body.n or 1,
                "seed": body.seed,
                "labels": _labels(body),
            },
            "request",
        )
    except ConfigError as exc:
        raise Problem(422, "wrong-input", exc.what, faults=exc.faults) from exc


def body_name(body: ImagesBody) -> str:
    """What tells a repeated request: the hash of all its fields."""
    return f"openai:{short_hash(body.model_dump(mode='json'), 32)}"


def no_model(name: str) -> OpenAIFault:
    """The fault for a name that nothing has."""
    return OpenAIFault(
        404,
        f"The model '{name[:200]}' does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


async def _is_recipe(catalog: Catalog, name: str) -> bool:
    if name.partition("@")[0] in {DEFAULT, CHAMPION}:
        return True
    return any(resolved.name == name for resolved in await catalog.recipes())


def _changes(body: ImagesBody) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "negative_prompt": body.negative_prompt,
        "steps": body.num_inference_steps,
        "guidance": body.guidance_scale,
        "scheduler": body.scheduler,
    }
    if body.size_px is not None:
        changes["width"], changes["height"] = body.size_px
    return {name: value for name, value in changes.items() if value is not None}


def _labels(body: ImagesBody) -> dict[str, str]:
    who = body.safety_identifier or body.user
    return {USER: who} if who else {}
