r"""From a number to its images: addresses of the wall and of Compare.

A set of values is joined by commas (`\,` is a comma in a value, `\N` no value, `\E` an empty text),
as the wall reads it. A field that the index does not offer gives no address rather than one that
is refused.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from teststrip.evidence.table import column_of

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis
    from teststrip.evidence.charts.scale import Mark
    from teststrip.evidence.importance import Term
    from teststrip.evidence.levels import Group
    from teststrip.studio.index import Entry

MOST_IDS = 60  # recipes named in one address


class Links:
    """Addresses of one study's images. `make` is the page's `link`."""

    def __init__(self, make: Callable[..., str], entry: "Entry", analysis: "Analysis") -> None:
        self._make, self._entry, self._analysis = make, entry, analysis
        self._fields = {setting.field for setting in entry.settings}
        self._objective = analysis.facts.objective

    def wall(self, **query: Any) -> str:
        """A wall of this study's search images."""
        return self._make("/wall", study=self._entry.name, **query)

    def images(self, *, sort: bool = True, **filters: str) -> str:
        """The wall of images that pass `filters` (`f.` is put before them), the best first."""
        order = {"score": self._objective, "sort": self._objective} if sort else {}
        return self.wall(**order, **{f"f.{name}": value for name, value in filters.items()})

    def recipe(self, recipe_id: str) -> str:
        """A recipe's images of the search, the best first."""
        return self.images(recipe_id=recipe_id, split="search")

    def recipes(self, ids: Sequence[str]) -> str:
        """Several recipes side by side: a column each, a row for each prompt."""
        filters = {"f.recipe_id": joined(ids[:MOST_IDS]), "f.split": "search"}
        return self.wall(x="recipe_id", y="prompt_id", score=self._objective, **filters)

    def section(self, key: str, **query: Any) -> str:
        """A section of these pages."""
        path = "/findings" if key == "answer" else f"/findings/{key}"
        return self._make(path, study=self._entry.name, **query)

    def compare(self, keys: Sequence[str]) -> str:
        """Two to four images in Compare."""
        return self._make("/compare", study=self._entry.name, i=list(keys))

    def thumb(self, key: str, size: int = 192) -> str:
        """A small picture."""
        return self._make(f"/thumbs/{size}/{self._entry.name}/{key}.webp")

    def named(self, recipe_id: str, text: str) -> Markup:
        """A recipe's name that leads to its images."""
        return linked(self.recipe(recipe_id), text)

    def of_term(self, term: "Term") -> str:
        """A parameter's name (or a pair's) that leads to a wall along it."""
        columns = [self.column(field) for field in term.fields]
        if not columns or None in columns:
            return term.name
        axes = dict(zip(("x", "y"), columns, strict=False))
        return linked(self.wall(**axes, show="mean", score=self._objective), term.name)

    def of_tag(self, tag: str) -> Markup:
        """A tag's name that leads to the leader and the reference on its prompts."""
        ranking = self._analysis.ranking
        pair = joined([ranking.best, ranking.reference])
        filters = {"f.tag": joined([tag]), "f.recipe_id": pair, "f.split": "search"}
        return linked(self.wall(x="recipe_id", y="prompt_id", **filters), tag)

    def column(self, field: str) -> str | None:
        """The column of a setting; None where the index has no choice of it."""
        name = column_of(self._analysis.table, field)
        return name if name in self._fields else None

    def level(self, field: str, value: Any, ends: tuple[float, float] | None) -> dict[str, str]:
        """The filter of one level of a setting; empty where it cannot be filtered by."""
        column = self.column(field)
        if column is None:
            return {}
        if ends is None:
            return {f"f.{column}": joined([value])}
        return {f"f.{column}.min": text_of(ends[0]), f"f.{column}.max": text_of(ends[1])}

    def to_level(self, field: str) -> "Callable[[Mark], str] | None":
        """For the marks of a setting's curve; None where it cannot be filtered by."""
        effect = next((e for e in self._analysis.effects if e.field == field), None)
        if effect is None or self.column(field) is None:
            return None

        def address(mark: "Mark") -> str:
            level = effect.levels[int(mark.key)]
            return self.of_level(field, level.value, level.ends)

        return address

    def of_level(self, field: str, value: Any, ends: tuple[float, float] | None) -> str:
        """The images of one level, the best first."""
        found = self.level(field, value, ends) | {"f.split": "search"}
        return self.wall(score=self._objective, sort=self._objective, **found)

    def to_cell(
        self, fields: Sequence[str], groups: "Sequence[Sequence[Group]]"
    ) -> "Callable[[Mark], str] | None":
        """For the marks of two settings together."""
        if len(groups) != len(fields) or any(self.column(field) is None for field in fields):
            return None

        def address(mark: "Mark") -> str:
            found = {"f.split": "search"}
            for field, group, place in zip(fields, groups, mark.key.split(","), strict=True):
                one = group[int(place)]
                found |= self.level(field, one.value, one.ends)
            return self.wall(score=self._objective, sort=self._objective, **found)

        return address

    def to_recipe(self, mark: "Mark") -> str:
        """For the marks of quality against time."""
        return self.recipe(mark.key)


def linked(address: str, text: str) -> Markup:
    """Text, escaped, that leads somewhere."""
    return Markup('<a href="{}">{}</a>').format(address, text)


def joined(values: Sequence[Any]) -> str:
    """A set of values in an address."""
    return ",".join(_part(value) for value in values)


def _part(value: Any) -> str:
    if value is None:
        return r"\N"
    return text_of(value).replace("\\", "\\\\").replace(",", r"\,") or r"\E"


def text_of(value: Any) -> str:
    """A value in an address: `7`, `3.5`, `true`; numbers come back exactly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)
