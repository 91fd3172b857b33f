"""The prompts of a study: a list or a file, tags, a template and the held-out part."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from teststrip.config import read_yaml
from teststrip.errors import ConfigError
from teststrip.recipe import MAX_PROMPT_CHARS, Frozen

MAX_PROMPTS = 20_000


class Prompt(Frozen):
    """One prompt and the tags by which results are split."""

    text: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS)
    tags: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_a_prompt(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @field_validator("text")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the prompt is blank")
        return value.strip()


class Prompts(Frozen):
    """Prompts, template and the fraction that the search never sees.

    Held out are the prompts whose text has the lowest hash, as many as `held_out` asks for (at
    least one, never all): sorting the file changes nothing, one prompt more moves one at most.
    """

    items: tuple[Prompt, ...] = Field(max_length=MAX_PROMPTS)
    template: str = Field(default="{prompt}", max_length=MAX_PROMPT_CHARS)
    held_out: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _a_list_is_items(cls, value: Any) -> Any:
        return {"items": value} if isinstance(value, list | tuple) else value

    @field_validator("items")
    @classmethod
    def _some_and_each_once(cls, value: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
        if not value:
            raise ValueError("the list of prompts is empty; give at least one")
        twice = [t for t, n in Counter(p.text for p in value).items() if n > 1]
        if twice:
            more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
            raise ValueError(
                f"the same prompt twice: {', '.join(map(repr, twice[:3]))}{more}; "
                "list each once and raise `seeds` for more images"
            )
        return value

    @field_validator("template")
    @classmethod
    def _one_slot(cls, value: str) -> str:
        if value.count("{prompt}") != 1:
            raise ValueError("must hold {prompt} exactly once")
        return value

    @model_validator(mode="after")
    def _enough_to_split(self) -> Self:
        if self.held_out and len(self.items) < 2:
            raise ValueError("held_out needs at least two prompts")
        return self

    def split(self) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
        """The prompts of the search and those held out, template filled in."""
        ranked = sorted(self.items, key=lambda p: hash_share(p.text))
        count = round(self.held_out * len(ranked))
        if self.held_out:
            count = min(max(count, 1), len(ranked) - 1)
        held = {p.text for p in ranked[:count]}
        filled = [(p.text in held, self._filled(p)) for p in self.items]
        return tuple(p for h, p in filled if not h), tuple(p for h, p in filled if h)

    def _filled(self, prompt: Prompt) -> Prompt:
        return prompt.model_copy(update={"text": self.template.replace("{prompt}", prompt.text)})


def hash_share(text: str) -> float:
    """A number in [0, 1) that hangs on the text alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def read_prompts(path: Path) -> list[Any]:
    """The prompts of a .txt (one a line, tags after a tab), .csv (text,tags) or .yaml file.

    Raises ConfigError if the file cannot be read.
    """
    if path.suffix in (".yaml", ".yml"):
        data = read_yaml(path)
        items = data.get("prompts") if isinstance(data, Mapping) else data
        if not isinstance(items, list):
            raise ConfigError(f"{path}: must be a list of prompts")
        return items
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    if path.suffix == ".csv":
        return _read_csv(path, text)
    if path.suffix == ".txt":
        lines = (line.partition("\t") for line in text.splitlines())
        return [
            {"text": words, "tags": _tags(tags)}
            for words, _, tags in lines
            if words.strip() and not words.startswith("#")
        ]
    raise ConfigError(f"{path}: unknown kind of prompts file; accepted: .txt, .csv, .yaml")


def _read_csv(path: Path, text: str) -> list[Any]:
    table = csv.DictReader(io.StringIO(text))
    column = next((c for c in ("text", "prompt") if c in (table.fieldnames or ())), None)
    if column is None:
        raise ConfigError(f"{path}: needs a column `text`, has {table.fieldnames}")
    return [
        {"text": row[column] or "", "tags": _tags((row.get("tags") or "").replace(";", ","))}
        for row in table
    ]


def _tags(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",") if tag.strip()]
