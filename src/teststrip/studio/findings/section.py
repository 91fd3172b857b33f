"""What each section's template is given: the report's own values, with links to the images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from teststrip.errors import ConfigError, StorageError
from teststrip.evidence.gallery import Addresses
from teststrip.studio.findings.links import Links, linked
from teststrip.studio.findings.pairs import together
from teststrip.studio.findings.plan import plan
from teststrip.studio.findings.recipes import VERDICTS, listing
from teststrip.studio.findings.templates import environment
from teststrip.studio.findings.two import choices, two

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis
    from teststrip.evidence.ranking import Ranked
    from teststrip.studio.pictures import Pictures

SECTIONS = (
    ("answer", "Answer"),
    ("luck", "Luck"),
    ("parameters", "Parameters"),
    ("time", "Quality and time"),
    ("ranking", "Ranking"),
    ("two", "Two recipes"),
    ("scorers", "Scorers and votes"),
    ("confirmed", "Confirmation"),
    ("plan", "Plan"),
    ("next", "Next"),
    ("method", "Method"),
)
Asked = Mapping[str, str]


@dataclass(frozen=True)
class Sources:
    """What a section is made from."""

    analysis: "Analysis"
    links: Links
    pictures: "Pictures"
    study: str


def values(key: str, sources: Sources, asked: Asked) -> dict[str, Any]:
    """The values of one section beyond `shown`. Raises ConfigError for a query that cannot be."""
    own = _linked(sources)
    more = OF.get(key)
    return own | (more(sources, asked) if more else {})


def _linked(sources: Sources) -> dict[str, Any]:
    """Names, numbers and marks that lead to their images."""
    from teststrip.evidence.answer import name_of

    links, analysis = sources.links, sources.analysis
    return {
        "links": links,
        "name": lambda recipe_id: links.named(recipe_id, name_of(analysis, recipe_id)),
        "plain_name": lambda recipe_id: name_of(analysis, recipe_id),
        "of_term": links.of_term,
        "of_tag": links.of_tag,
        "to_level": links.to_level,
        "to_recipe": links.to_recipe,
        "together": None,  # its own form, below the curves
    }


def _answer(sources: Sources, asked: Asked) -> dict[str, Any]:
    from teststrip.evidence import views

    links, analysis = sources.links, sources.analysis
    beside = _beside(analysis)

    def target(key: str) -> str:
        return links.compare([key, beside[key]] if key in beside else [key])

    source = Addresses(lambda key: links.thumb(key, 384), target)

    def actions(row: "Ranked") -> Markup:
        return _part("card", links=links, row=row, reference=analysis.ranking.reference)

    return {
        "cards": views.cards(analysis, source),
        "wall": views.best_wall(analysis, Addresses(links.thumb, target)),
        "figures": _figures(links, views.figures(analysis)),
        "actions": actions,
        "beside": bool(beside),
    }


def _figures(links: Links, found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The numbers of the head, each leading to what it counts."""
    to = {
        "images searched": links.wall(**{"f.split": "search"}),
        "images to confirm": links.wall(**{"f.split": "held_out"}),
        "recipes": links.section("ranking"),
        "prompts": links.wall(x="seed", y="prompt_id"),
    }
    return [(linked(to[what], n) if what in to else n, what, more) for n, what, more in found]


def _beside(analysis: "Analysis") -> dict[str, str]:
    """Image key -> the reference's image of the same prompt and seed."""
    table = analysis.table
    rows = table[(table["split"] == "search") & (table["status"] == "ok")]
    rows = rows[rows["recipe_id"].isin({*analysis.ranking.best_set, analysis.ranking.reference})]
    rows = rows[["recipe_id", "prompt_id", "seed", "image_key"]]
    other = rows[rows["recipe_id"] == analysis.ranking.reference]
    pairs = rows[rows["recipe_id"] != analysis.ranking.reference].merge(
        other, on=["prompt_id", "seed"], suffixes=("", "_reference")
    )
    return dict(zip(pairs["image_key"], pairs["image_key_reference"], strict=True))


def _parameters(sources: Sources, asked: Asked) -> dict[str, Any]:
    links, analysis = sources.links, sources.analysis
    pair = (asked["a"], asked["b"]) if asked.get("a") and asked.get("b") else None
    found = together(analysis, pair)
    by_field = {effect.field: effect for effect in analysis.effects}

    def as_table(field: str) -> Markup:
        effect, write = by_field[field], analysis.ranking.numbers
        return _part("effect", effect=effect, write=write, links=links)

    to_cell = links.to_cell(found.found.fields, found.found.groups) if found else None
    return {"pair": found, "to_cell": to_cell, "as_table": as_table}


def _ranking(sources: Sources, asked: Asked) -> dict[str, Any]:
    found = listing(
        sources.analysis,
        asked.get("sort", "place"),
        asked.get("verdict", ""),
        _whole(asked, "page") or 1,
    )

    def to(**changes: Any) -> str:
        query = {"sort": asked.get("sort"), "verdict": found.verdict or None} | changes
        return sources.links.section("ranking", **query)

    return {"list": found, "to": to, "verdicts": VERDICTS}


def _two(sources: Sources, asked: Asked) -> dict[str, Any]:
    analysis = sources.analysis
    ranking = analysis.ranking
    ids = {row.recipe_id for row in ranking.rows}
    others = [row.recipe_id for row in ranking.rows if row.recipe_id != ranking.best]
    a = asked.get("a") or ranking.best
    rival = ranking.reference if ranking.reference != ranking.best else next(iter(others), "")
    b = asked.get("b") or (rival if rival != a else ranking.best)
    faults = [f"no recipe {name[:40]!r} in this study" for name in (a, b) if name not in {*ids, ""}]
    if faults:
        raise ConfigError("these two cannot be compared", faults)
    found = two(analysis, a, b) if b and a != b else None
    return {"first": a, "second": b, "two": found, "choices": choices(analysis, a, b)}


def _confirmed(sources: Sources, asked: Asked) -> dict[str, Any]:
    """Here a name leads to the held-out images: the search's chose the recipe."""
    from teststrip.evidence.answer import name_of

    def name(recipe_id: str) -> Markup:
        address = sources.links.images(recipe_id=recipe_id, split="held_out")
        return linked(address, name_of(sources.analysis, recipe_id))

    return {"name": name}


def _plan(sources: Sources, asked: Asked) -> dict[str, Any]:
    numbers = {name: _whole(asked, name) for name in ("prompts", "seeds", "comparisons")}
    text = asked.get("difference", "").strip().replace(",", ".")
    try:
        difference = float(text) if text else None
    except ValueError:
        raise ConfigError(f"difference {text[:40]!r}: a number above 0 is accepted") from None
    return {"plan": plan(sources.analysis, **numbers, difference=difference)}


def _next(sources: Sources, asked: Asked) -> dict[str, Any]:
    from teststrip.evidence.answer import name_of
    from teststrip.evidence.reproduce import reproduction

    analysis = sources.analysis
    confirmed = analysis.confirmed.champion if analysis.confirmed else None
    recipe_id = confirmed or analysis.ranking.best
    texts = reproduction(analysis.table, recipe_id, *_made(sources, recipe_id))
    title = f"{name_of(analysis, recipe_id)} (recipe {recipe_id})"
    return {"again": (title, texts) if texts else None}


def _made(sources: Sources, recipe_id: str) -> tuple[tuple[int, int], str | None]:
    """Size and dtype of a recipe's first picture; (0, 0) and None where it cannot be read."""
    from teststrip import png

    table = sources.analysis.table
    rows = table[(table["recipe_id"] == recipe_id) & (table["image_key"].astype(str) != "")]
    if not len(rows):
        return (0, 0), None
    try:
        made = png.read(sources.pictures.original(sources.study, str(rows["image_key"].iloc[0])))
    except (StorageError, ConfigError):
        return (0, 0), None
    return (made.width, made.height), str(made.facts.get("dtype") or "") or None


def _whole(asked: Asked, name: str) -> int | None:
    """A whole number of the query; None where it is left out. Raises ConfigError."""
    text = asked.get(name, "").strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name} {text[:40]!r}: a whole number is accepted") from None


def _part(template: str, **given: Any) -> Markup:
    text = environment().get_template(f"findings/{template}.html").render(**given)
    return Markup(text)  # noqa: S704 - a template of our own, which escapes what it is given


OF: dict[str, Callable[[Sources, Asked], dict[str, Any]]] = {
    "answer": _answer,
    "parameters": _parameters,
    "ranking": _ranking,
    "two": _two,
    "confirmed": _confirmed,
    "plan": _plan,
    "next": _next,
}
