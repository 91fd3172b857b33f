"""Ratings as a table of images, as studies have it: `study analyze` reads it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from teststrip.errors import MissingExtra
from teststrip.recipe import Recipe, canonical_json
from teststrip.track.ratings import Rating

if TYPE_CHECKING:
    import pandas as pd


def rated_table(ratings: Iterable[Rating]) -> "pd.DataFrame":
    """One row for each recipe, prompt and seed: `score` is the share of its thumbs that are up.

    Columns: recipe_id, recipe.<field> (those that any recipe sets), prompt_id, prompt, seed, score
    (0 to 1). Thumbs taken back do not count. Raises MissingExtra without pandas.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as exc:
        raise MissingExtra("a table of ratings", "report") from exc
    pictures: dict[tuple[str, str, int], list[Rating]] = {}
    for row in ratings:
        if row.thumb:
            pictures.setdefault((row.recipe_id, row.prompt_id, row.seed), []).append(row)
    settings = sorted({name for rows in pictures.values() for name in rows[0].recipe})
    defaults = Recipe().model_dump(mode="json")
    made = []
    for (recipe_id, prompt_id, seed), rows in pictures.items():
        first = rows[0]
        values = {f"recipe.{n}": _plain(first.recipe.get(n, defaults.get(n))) for n in settings}
        score = sum(row.thumb > 0 for row in rows) / len(rows)
        made.append(
            {"recipe_id": recipe_id, **values, "prompt_id": prompt_id}
            | {"prompt": first.prompt, "seed": seed, "score": score}
        )
    columns = ["recipe_id", *(f"recipe.{n}" for n in settings)]
    return pd.DataFrame(made, columns=[*columns, "prompt_id", "prompt", "seed", "score"])


def _plain(value: Any) -> Any:
    """Lists (LoRAs) as JSON: one cell, one value."""
    return canonical_json(value) if isinstance(value, (list, dict)) else value
