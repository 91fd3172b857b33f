"""/api/recipes, /api/templates, /api/models: what may be named in a wish."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from teststrip.recipe import Recipe
from teststrip.serve.jobs.job import Champion
from teststrip.serve.web.catalog import Catalog
from teststrip.serve.web.problems import told
from teststrip.serve.web.routes_jobs import Who

router = APIRouter(tags=["what is served"], responses=told(401, 503))


class RecipeView(BaseModel):
    """A recipe by its name; `champion` where it comes from the registry."""

    name: str
    recipe_id: str
    recipe: Recipe
    champion: Champion | None


class RecipeList(BaseModel):
    """The first is what a wish gets that names none."""

    recipes: list[RecipeView]


class TemplateView(BaseModel):
    """`text` holds {product}."""

    name: str
    text: str


class TemplateList(BaseModel):
    """The first is what a product gets that names none."""

    templates: list[TemplateView]


class ModelView(BaseModel):
    """A model, as its workers tell of it; `workers`: how many have it now."""

    name: str
    fingerprint: str | None = None
    dtype: str | None = None
    width: int | None = None
    height: int | None = None
    defaults: dict[str, Any] = {}
    workers: int = 0


class ModelList(BaseModel):
    """What recipes may name as their model."""

    models: list[ModelView]


def _catalog(request: Request) -> Catalog:
    found: Catalog = request.app.state.catalog
    return found


@router.get("/api/recipes")
async def list_recipes(request: Request, _: Who) -> RecipeList:
    """Recipes by name, the default first."""
    found = await _catalog(request).recipes()
    return RecipeList(
        recipes=[
            RecipeView(
                name=one.name,
                recipe_id=one.recipe.recipe_id,
                recipe=one.recipe,
                champion=one.champion,
            )
            for one in found
        ]
    )


@router.get("/api/templates")
async def list_templates(request: Request, _: Who) -> TemplateList:
    """Prompt templates by name, the default first."""
    known = _catalog(request).templates
    return TemplateList(templates=[TemplateView(name=n, text=t) for n, t in known.items()])


@router.get("/api/models")
async def list_models(request: Request, _: Who) -> ModelList:
    """Models with their fingerprints."""
    catalog = _catalog(request)
    told_of = await catalog.models()
    cards = await catalog.cards()
    names = dict.fromkeys([*request.app.state.parts.config.models, *told_of])
    fields = ModelView.model_fields.keys() - {"name", "workers"}
    return ModelList(
        models=[
            ModelView(
                name=name,
                workers=sum(name in card.models for card in cards),
                **{k: v for k, v in told_of.get(name, {}).items() if k in fields},
            )
            for name in names
        ]
    )
