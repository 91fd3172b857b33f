"""A study's images as pairs are made of them: which recipe has one on which block."""

# ruff: noqa: S608 - SQL holds the index's own table names and quoted columns only

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from teststrip.studio.index import Entry, Index
from teststrip.studio.rate.choosing import Block

UNKNOWN = "no-settings"  # the recipe of imported images whose settings nobody knows


@dataclass(frozen=True)
class Shelf:
    """`images`: key -> its row. `paired`: pairs share prompt and seed; else only the prompt's text.

    `order`: recipes, those first that the study kept longest, then by their lead; the baseline is
    second at the latest.
    """

    entry: Entry
    images: dict[str, dict[str, Any]]
    order: tuple[str, ...]
    paired: bool
    _on: dict[str, dict[Block, str]] = field(repr=False)

    def shown_on(self, most: int) -> dict[str, frozenset[Block]]:
        """The first `most` recipes -> blocks each has an image on; 0: all."""
        names = self.order[:most] if most else self.order
        return {name: frozenset(self._on[name]) for name in names}

    def image(self, recipe: str, block: Block) -> str:
        """The key of a recipe's image on a block."""
        return self._on[recipe][block]

    def block_of(self, first: str, second: str) -> Block | None:
        """What two images share; None where they make no pair."""
        a, b = self.images.get(first), self.images.get(second)
        if a is None or b is None or a["recipe_id"] == b["recipe_id"]:
            return None
        found: Block | None = a["pair_block"]
        return found if found == b["pair_block"] else None

    @cached_property
    def has_pairs(self) -> bool:
        """Is there any block with two recipes?"""
        seen: set[Block] = set()
        for blocks in self._on.values():
            if not seen.isdisjoint(blocks):
                return True
            seen.update(blocks)
        return False


class Shelves:
    """Shelves by study, made anew when a study's images change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Shelf] = {}

    def shelf(self, index: Index, name: str) -> Shelf:
        """Raises StudyError where there is no such study."""
        entry = index.entry(name)
        with self._lock:
            kept = self._made.get(name)
            if kept is None or kept.entry.version != entry.version:
                kept = self._made[name] = make(index, entry)
            return kept


def make(index: Index, entry: Entry) -> Shelf:
    """Read a study's images that can be shown."""
    rows = index.query(
        "SELECT image_key, recipe_id, prompt_id, prompt, seed, lead "
        f"FROM {index.table(entry.name)} WHERE status = 'ok' AND image_key IS NOT NULL "
        "AND recipe_id <> '' ORDER BY image_id"
    )
    on: dict[str, dict[Block, str]] = defaultdict(dict)
    leads: dict[str, list[float]] = defaultdict(list)
    blocks = _Blocks(entry)
    for row in rows:
        row["pair_block"] = block = blocks.of(row)
        if block is not None:
            on[row["recipe_id"]].setdefault(block, row["image_key"])
        if row["lead"] is not None:
            leads[row["recipe_id"]].append(row["lead"])

    def rank(recipe: str) -> tuple[float, float, str]:
        found = leads[recipe]
        return -len(on[recipe]), -sum(found) / len(found) if found else 0.0, recipe

    order = sorted(on, key=rank)
    if entry.baseline in on:
        order.remove(entry.baseline)
        order.insert(1, entry.baseline)
    images = {row["image_key"]: row for row in rows}
    return Shelf(entry, images, tuple(order), entry.paired, dict(on))


class _Blocks:
    """What an image shares with its counterpart: prompt and seed, or the prompt's text alone.

    Where a recipe has several images of a prompt without shared seeds, its first stands against
    the first of another recipe, its second against the second: blocks -1, -2, ...
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._ids: dict[str, str] = {}
        self._seen: Counter[tuple[str, str]] = Counter()

    def of(self, row: Mapping[str, Any]) -> Block | None:
        """None for an image that can be in no pair: its prompt, settings or seed are unknown."""
        text, recipe = str(row["prompt"] or ""), str(row["recipe_id"])
        if recipe == UNKNOWN:
            return None
        if self._entry.paired:
            seed = row["seed"]
            return None if seed is None else (str(row["prompt_id"]), int(seed))
        if not text:
            return None
        self._seen[recipe, text] += 1
        return self._ids.setdefault(text, str(row["prompt_id"])), -self._seen[recipe, text]
