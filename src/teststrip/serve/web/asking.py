"""The page's form: what it holds at first or again, and the wish that it stands for."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from teststrip.config import faults_of
from teststrip.serve.jobs.job import Champion, JobRecord
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.cards import FROM, PAGE, PRODUCT, TEMPLATE
from teststrip.serve.web.catalog import CHAMPION, DEFAULT, Catalog
from teststrip.serve.web.problems import Problem
from teststrip.serve.web.schemas import Wish

MOST_LABEL = 200  # a longer product is found again as part of its prompt


@dataclass(frozen=True)
class Asked:
    """What the form holds: as typed, as of an earlier job, or fresh."""

    template: str
    product: str = ""
    prompt: str = ""
    recipe: str = DEFAULT
    n: str = "1"
    seed: str = ""
    faults: Sequence[str] = ()
    once: str = field(default_factory=lambda: secrets.token_urlsafe(16))


def fresh(catalog: Catalog, faults: Sequence[str] = ()) -> Asked:
    """The form as it is at first."""
    return Asked(next(iter(catalog.templates)), faults=faults)


def as_before(
    catalog: Catalog, record: JobRecord, seed: str | None, crowned: Champion | None
) -> Asked:
    """The form as it was for this job, or for the picture of it that has this seed.

    The version that made it is asked for by its number once another one is `crowned`.
    """
    template = record.labels.get(TEMPLATE, "")
    known = template in catalog.templates
    recipe = record.recipe_name
    if record.champion is not None:
        is_current = crowned is not None and crowned.version == record.champion.version
        recipe = DEFAULT if is_current else f"{CHAMPION}@{record.champion.version}"
    return Asked(
        template if known else "",
        product=record.labels.get(PRODUCT, "") if known else "",
        prompt="" if known else record.prompt,
        recipe=recipe,
        n="1" if seed else str(len(record.seeds)),
        seed=seed if seed and seed.isdecimal() else "",
    )


def typed(form: Mapping[str, str], catalog: Catalog) -> Asked:
    """The form as somebody sent it."""
    names = ("template", "product", "prompt", "recipe", "n", "seed", "once")
    given = {name: form[name].strip() for name in names if name in form}
    return Asked(**({"template": next(iter(catalog.templates))} | given))


def wish_of(asked: Asked, who: Caller) -> Wish:
    """Raises Problem 422 with every fault."""
    labels = {FROM: PAGE}
    if asked.template and len(asked.product) <= MOST_LABEL:
        labels |= {TEMPLATE: asked.template, PRODUCT: asked.product}
    wanted: dict[str, Any] = {
        "recipe": asked.recipe or DEFAULT,
        "n": asked.n,
        "labels": labels,
        "priority": who.priorities[0] if who.priorities else None,
    }
    if asked.template:
        if not asked.product:
            raise Problem(422, "wrong-input", "", faults=["Say what the picture shall show"])
        wanted |= {"template": asked.template, "product": asked.product}
    else:
        if not asked.prompt:
            raise Problem(422, "wrong-input", "", faults=["Say what the picture shall show"])
        wanted["prompt"] = asked.prompt
    if asked.seed:
        wanted["seed"] = asked.seed
    try:
        return Wish.model_validate(wanted)
    except ValidationError as exc:
        raise Problem(422, "wrong-input", "", faults=faults_of(exc)) from exc
