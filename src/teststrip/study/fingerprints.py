"""The models behind a study: asked for once, remembered, and not allowed to change unnoticed."""

from collections.abc import Mapping

from teststrip.errors import StudyError
from teststrip.protocols import Generator
from teststrip.recipe import Recipe
from teststrip.study.folder import StudyFolder

WEIGHTS = {"model", "revision", "loras", "dtype"}


class Fingerprints:
    """Model as the recipe spells it -> fingerprint, kept in study.json as soon as it is known.

    Pictures made by other weights must not be compared: if a model has another fingerprint than
    when the study began, `of` raises StudyError instead of making everything anew.
    """

    def __init__(self, generator: Generator, folder: StudyFolder) -> None:
        self._generator = generator
        self._folder = folder
        record = folder.read() if folder.exists() else {}
        self._known: Mapping[str, str] = record.get("fingerprints") or {}
        self._asked: dict[str, str] = {}

    def of(self, recipe: Recipe) -> str:
        """The fingerprint of what would make this recipe's pictures."""
        weights = recipe.model_dump(mode="json", include=WEIGHTS, exclude_defaults=True)
        name = " ".join(f"{k}={v}" for k, v in ({"model": recipe.model} | weights).items())
        if name not in self._asked:
            self._asked[name] = self._generator.fingerprint(recipe)
            self._compare(name)
        return self._asked[name]

    def _compare(self, name: str) -> None:
        was, now = self._known.get(name), self._asked[name]
        if was is None:
            self._known = {**self._known, name: now}
            self._folder.write(fingerprints=self._known)
        elif was != now:
            raise StudyError(
                f"study {self._folder.name!r}: {name} is not the model that it began with "
                f"(fingerprint was {was}, now {now}); bring the old one back, or start a new "
                "study: their pictures cannot be compared"
            )
