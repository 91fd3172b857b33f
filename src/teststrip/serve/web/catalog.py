"""Names of recipes and templates -> what they are. The champion comes first."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from teststrip.config import parse, read_yaml
from teststrip.errors import ConfigError
from teststrip.recipe import Recipe
from teststrip.serve.jobs.job import Champion
from teststrip.serve.parts import Parts
from teststrip.serve.state.base import WorkerCard

DEFAULT, CHAMPION = "default", "champion"
TEMPLATES = {"studio": "a commercial studio photo of {product}, professional contrast lighting"}
CARDS_S = 1.0
KEPT = "model:"  # prefix of what is kept of a model's card, for times without a worker
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


class Crowned(Protocol):
    """A registered version with its recipe (`serve.champion` has the real one)."""

    @property
    def recipe(self) -> Recipe:
        """As it was registered."""
        ...

    @property
    def champion(self) -> Champion:
        """Name and version."""
        ...


class Champions(Protocol):
    """Who is champion now, and who was it (`serve.champion.ChampionWatch`)."""

    def current(self) -> Crowned | None:
        """The champion, or None where nobody was crowned yet."""
        ...

    def version(self, number: str) -> Crowned:
        """A certain version. Raises ConfigError, StorageError. Asks MLflow: not in the loop."""
        ...


@dataclass(frozen=True)
class Resolved:
    """What a recipe's name stands for now."""

    name: str
    recipe: Recipe
    champion: Champion | None = None


class Catalog:
    """What may be named. Raises ConfigError at the start for a file with faults (all of them)."""

    def __init__(
        self,
        parts: Parts,
        champions: Champions | None = None,
        recommended: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self._parts, self._champions = parts, champions
        config = parts.config
        self._recipes = _recipes(read_yaml(config.recipes_file)) if config.recipes_file else {}
        self.templates: Mapping[str, str] = (
            _templates(read_yaml(config.templates_file)) if config.templates_file else TEMPLATES
        )
        self._cards: list[WorkerCard] = []
        self._models: dict[str, dict[str, Any]] = {}
        self._looked = float("-inf")
        self._recommended = recommended

    async def resolve(self, name: str) -> Resolved:
        """The recipe behind a name. Raises ConfigError for one that is not known."""
        import asyncio

        base, at, number = name.partition("@")
        if base == CHAMPION:
            return await asyncio.to_thread(self._crowned, number if at else None)
        if name == DEFAULT and self._champions is not None:
            crowned = self._champions.current()
            if crowned is not None:
                return Resolved(CHAMPION, crowned.recipe, crowned.champion)
        if name in self._recipes:
            return Resolved(name, self._recipes[name])
        if name == DEFAULT:
            return Resolved(DEFAULT, await self._default())
        known = ", ".join(sorted({DEFAULT, CHAMPION, *self._recipes}))
        raise ConfigError(f"recipe: unknown name {name!r}; accepted: {known}, champion@<version>")

    def text(self, template: str | None, product: str) -> str:
        """The prompt of a product. `template` None: the first. Raises ConfigError."""
        name = template if template is not None else next(iter(self.templates))
        if name not in self.templates:
            known = ", ".join(self.templates)
            raise ConfigError(f"template: unknown name {name!r}; accepted: {known}")
        return self.templates[name].replace("{product}", product)

    async def recipes(self) -> list[Resolved]:
        """All that can be named now, the default first."""
        names = [DEFAULT, *self._recipes]
        found = [await self.resolve(name) for name in names]
        crowned = self._champions.current() if self._champions is not None else None
        if crowned is not None:
            found.insert(1, Resolved(CHAMPION, crowned.recipe, crowned.champion))
        found[0] = Resolved(DEFAULT, found[0].recipe, found[0].champion)
        return found

    async def cards(self) -> list[WorkerCard]:
        """The living workers, as they were a second ago at most."""
        if time.monotonic() - self._looked >= CARDS_S:
            self._looked = time.monotonic()
            self._cards = await self._parts.state.workers()
        return self._cards

    async def models(self) -> dict[str, dict[str, Any]]:
        """What workers told of their models: fingerprint, dtype, defaults, width, height.

        Kept when the last worker is gone, so that a job can be fixed while none is there.
        """
        if not self._models:
            for name, kept in (await self._parts.state.things(KEPT)).items():
                self._models[name.removeprefix(KEPT)] = json.loads(kept)
        for card in await self.cards():
            for name, told in card.models.items():
                if self._models.get(name) != dict(told):
                    self._models[name] = dict(told)
                    await self._parts.state.put(KEPT + name, json.dumps(dict(told)).encode())
        return self._models

    def _crowned(self, number: str | None) -> Resolved:
        if self._champions is None:
            raise ConfigError(
                "recipe: no champion is served here (TESTSTRIP_SERVICE_CHAMPION names it)"
            )
        if number is None:
            crowned = self._champions.current()
            if crowned is None:
                raise ConfigError("recipe: nobody is champion yet (teststrip study promote)")
        elif not (number.isascii() and number.isdigit() and len(number) <= 9):
            raise ConfigError(f"recipe: champion@<version> wants a number, got {number!r}")
        else:
            crowned = self._champions.version(number)
        name = CHAMPION if number is None else f"{CHAMPION}@{number}"
        return Resolved(name, crowned.recipe, crowned.champion)

    async def _default(self) -> Recipe:
        """The first model's own defaults, as its worker told them or, before, its folder does.

        Ours for a hub model that no worker has opened yet.
        """
        model = self._parts.config.models[0]
        told = (await self.models()).get(model, {}).get("defaults")
        fields = self._recommended.get(model, {}) if told is None else told
        return parse(Recipe, {"model": model} | dict(fields), model)


def _recipes(data: Any) -> dict[str, Recipe]:
    faults, found = [], {}
    for name, fields in _named(data, "recipes").items():
        try:
            found[name] = parse(Recipe, fields, name)
        except ConfigError as exc:
            faults += [f"{name}.{fault}" for fault in exc.faults]
    if faults:
        raise ConfigError("the recipes file has faults", faults)
    return found


def _templates(data: Any) -> dict[str, str]:
    found = _named(data, "templates")
    faults = [
        f"{name}: must be a text that holds {{product}}, got {text!r}"
        for name, text in found.items()
        if not isinstance(text, str) or "{product}" not in text or len(text) > 2000
    ]
    if faults or not found:
        raise ConfigError("the templates file has faults", faults or ["it is empty"])
    return found


def _named(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"the {what} file must be a map of names")
    faults = [
        f"{name!r}: a name is letters, digits and ._- and spaces, at most 64; not {CHAMPION!r}"
        for name in data
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == CHAMPION
    ]
    if faults:
        raise ConfigError(f"the {what} file has faults", faults)
    return data
