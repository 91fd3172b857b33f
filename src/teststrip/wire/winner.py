"""The recipe that a study ends with: which, how sure we are, and as text to copy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError, StudyError
from teststrip.recipe import Block, Recipe, Request
from teststrip.wire.bench import Bench
from teststrip.wire.confirming import Findings, findings

if TYPE_CHECKING:
    import pandas as pd

    from teststrip.evidence.compare import Comparison
    from teststrip.png import PngFacts


FILES = {"json": "recipe.json", "a1111": "recipe.txt", "diffusers": "recipe.py"}


@dataclass(frozen=True)
class Winner:
    """One recipe of a study with its first picture. `standing`: how sure we are of it, in words.

    `fingerprint`: of the model that made its pictures; `shown`: what its picture says of itself,
    None where there is none.
    """

    findings: Findings
    recipe: Recipe
    request: Request
    standing: str
    fingerprint: str
    shown: "PngFacts | None"
    rows: "pd.DataFrame"

    @property
    def recipe_id(self) -> str:
        """Its name."""
        return self.recipe.recipe_id

    @property
    def supported(self) -> bool:
        """Did the confirmation find it better than the baseline?"""
        found = self.findings.confirmed
        return found is not None and self.recipe_id in found.supported

    @property
    def row(self) -> "Comparison | None":
        """Its comparison with the baseline on held-out images; None where there is none."""
        found = self.findings.confirmed
        return found.row(self.recipe_id) if found else None


def winner(bench: Bench, name: str, recipe_id: str | None = None) -> Winner:
    """The confirmed champion of a study, else its search's leader, or the recipe of this id.

    Raises ConfigError for an id that is not in the study, StudyError where there is no result.
    """
    from teststrip import png
    from teststrip.evidence import table
    from teststrip.evidence.reproduce import recipe_of

    found = findings(bench, name)
    wanted = recipe_id or _default(found)
    images = table.load(found.study.folder.table, found.facts.objective)
    rows = images[images["recipe_id"] == wanted].copy()
    if not len(rows):
        known = [row.recipe_id for row in found.ranking.rows]
        raise ConfigError(
            f"study {name}: has no recipe {wanted!r}; the first of its {len(known)}: "
            + ", ".join(known[:8])
        )
    # A picture of the search before one held out, one that exists before one that failed.
    rows["_late"] = rows["split"] != "search"
    rows["_failed"] = rows["status"] != "ok"
    rows = rows.sort_values(["_failed", "_late", "block"], kind="stable").head(1)
    first = rows.iloc[0]
    recipe = recipe_of(first)
    if recipe is None:
        raise StudyError(f"study {name!r}: its table does not hold the whole recipe {wanted}")
    request = Request(
        recipe=recipe, block=Block(prompt=str(first["prompt"]), seed=int(first["seed"]))
    )
    picture = found.study.folder.path / str(first["png"] or "")
    return Winner(
        findings=found,
        recipe=recipe,
        request=request,
        standing=_standing(found, wanted),
        fingerprint=_fingerprint(found, request, str(first["image_key"])),
        shown=png.read(picture.read_bytes()) if picture.is_file() else None,
        rows=rows,
    )


def texts(chosen: Winner) -> dict[str, str]:
    """The recipe as `json`, `a1111` and `diffusers` text, for its first block."""
    from teststrip.evidence.reproduce import reproduction

    shown, recipe = chosen.shown, chosen.recipe
    size = (shown.width, shown.height) if shown else (recipe.width or 512, recipe.height or 512)
    dtype = str(shown.facts["dtype"]) if shown and shown.facts.get("dtype") else None
    made = reproduction(chosen.rows, chosen.recipe_id, size, dtype)
    if made is None:
        raise StudyError(f"recipe {chosen.recipe_id}: its prompt cannot be used in a request")
    name = chosen.findings.facts.name
    head = f"# Study {name}, recipe {chosen.recipe_id}. {chosen.standing}"
    return {"json": made.recipe, "a1111": made.a1111, "diffusers": f"{head}\n{made.diffusers}"}


def _default(found: Findings) -> str:
    champion = found.confirmed.champion if found.confirmed else None
    return champion or found.ranking.best


def _standing(found: Findings, recipe_id: str) -> str:
    """How sure we are of a recipe, in one sentence."""
    from teststrip.evidence import verdict

    row = found.confirmed.row(recipe_id) if found.confirmed else None
    if found.confirmed is None or row is None:
        place = "The search's leader" if recipe_id == found.ranking.best else "A recipe"
        if recipe_id == found.facts.baseline:
            place = "The baseline"
        return f"{place}, not confirmed on held-out prompts."
    numbers = verdict.gain(row, verdict.numbers(found.confirmed))
    supported = recipe_id in found.confirmed.supported
    return (
        f"{'Confirmed' if supported else 'Not confirmed'}: {numbers} against the baseline on "
        f"{verdict.on_blocks(row)} that the search never saw, {row.verdict}."
    )


def _fingerprint(found: Findings, request: Request, image_key: str) -> str:
    """Of the study's models, the one whose pictures carry this key."""
    known: Mapping[str, str] = found.study.folder.read().get("fingerprints") or {}
    for fingerprint in known.values():
        if request.image_key(fingerprint) == image_key:
            return fingerprint
    raise StudyError(
        f"study {found.facts.name!r}: none of its recorded models made picture {image_key}; its "
        "table or study.json was changed"
    )
