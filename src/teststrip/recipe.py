"""Recipe, Block, Request: what is to be made. Frozen, validated, hashable, JSON both ways."""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from teststrip.noise import NOISE_NAMES, SPACINGS, noise_names, split_name

Dtype = Literal["fp32", "bf16", "fp16"]
MAX_PROMPT_CHARS = 8000


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, UTF-8, NaN refused."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def short_hash(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


class Frozen(BaseModel):
    """Base of what we read from users: immutable, unknown keys refused, NaN refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lora(Frozen):
    """An adapter: a local safetensors file, a folder or a hub id, and how strongly it acts."""

    path: str = Field(min_length=1)
    scale: float = Field(default=1.0, ge=-10, le=10)

    @field_validator("scale")
    @classmethod
    def _one_spelling_of_zero(cls, value: float) -> float:
        return value + 0.0  # -0.0 is equal to 0.0 and would hash to another id


class Recipe(Frozen):
    """Everything but prompt and seed that decides an image.

    `recipe_id` hashes the fields that differ from these defaults, so a default never changes and
    a new field never changes an old id. Two spellings of one recipe have one id: guidance of 1 or
    less is `1` (no guidance), options that do nothing are refused rather than ignored.
    """

    model: str = Field(default="builtin", min_length=1, max_length=500)
    revision: str | None = Field(default=None, max_length=200)
    loras: tuple[Lora, ...] = Field(default=(), max_length=8)
    scheduler: str = "dpmpp_2m"
    spacing: Literal["leading", "linspace", "trailing"] | None = None
    zero_snr: bool = False
    eta: float = Field(default=0.0, ge=0, le=1)
    steps: int = Field(default=25, ge=1, le=1000)
    guidance: float = Field(default=7.5, ge=0, le=100)
    rescale: float = Field(default=0.0, ge=0, le=1)
    width: int | None = Field(default=None, ge=16, le=4096, multiple_of=8)
    height: int | None = Field(default=None, ge=16, le=4096, multiple_of=8)
    negative_prompt: str = Field(default="", max_length=MAX_PROMPT_CHARS)
    prompt_template: str = Field(default="{prompt}", max_length=MAX_PROMPT_CHARS)
    clip_skip: int = Field(default=0, ge=0, le=12)
    dtype: Dtype | None = None

    @field_validator("guidance", mode="before")
    @classmethod
    def _none_means_no_guidance(cls, value: Any) -> Any:
        return 1.0 if value is None or value == "none" else value

    @field_validator("guidance")
    @classmethod
    def _one_spelling_of_no_guidance(cls, value: float) -> float:
        return max(value, 1.0)

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: str) -> str:
        try:
            split_name(value)
        except KeyError:
            raise ValueError(
                f"unknown noise scheduler {value!r}; accepted: {', '.join(NOISE_NAMES)}; "
                "some also take the suffix _karras, _exponential or _beta "
                f"({len(noise_names())} names in all: teststrip image schedulers)"
            ) from None
        return value

    @field_validator("prompt_template")
    @classmethod
    def _template_has_one_slot(cls, value: str) -> str:
        if value.count("{prompt}") != 1:
            raise ValueError(f"must hold {{prompt}} exactly once, got {value!r}")
        return value

    @field_validator("spacing", "zero_snr", "eta", "steps", "rescale")
    @classmethod
    def _does_something(cls, value: Any, info: ValidationInfo) -> Any:
        """A field against those declared above it.

        `info.data` holds the ones that are right, so every fault of a recipe shows at once and
        none follows from another.
        """
        scheduler = info.data.get("scheduler")
        fault = ""
        if info.field_name == "rescale":
            if value and info.data.get("guidance", 2.0) <= 1:
                fault = "rescale acts on guided images only: set guidance above 1"
        elif value and scheduler:
            fault = _scheduler_fault(str(info.field_name), value, scheduler)
        if fault:
            raise ValueError(fault)
        return value

    @property
    def canonical(self) -> str:
        """Canonical JSON of the fields that differ from the defaults."""
        return canonical_json(self.model_dump(mode="json", exclude_defaults=True))

    @cached_property
    def recipe_id(self) -> str:
        """Twelve hex digits that name this recipe everywhere."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:12]

    @property
    def guided(self) -> bool:
        """True where an image costs two UNet rows (with and without the prompt)."""
        return self.guidance > 1

    @property
    def model_calls(self) -> int:
        """Model calls that one image costs; more than `steps` for second-order schedulers."""
        return NOISE_NAMES[split_name(self.scheduler)[0]].calls(self.steps)

    def changed(self, **fields: Any) -> "Recipe":
        """A validated copy with some fields changed."""
        return Recipe.model_validate(self.model_dump() | fields)


def _scheduler_fault(name: str, value: Any, scheduler: str) -> str:
    """Why field `name` cannot have this (set) value with this scheduler; empty if it can."""
    known = NOISE_NAMES[split_name(scheduler)[0]]
    if name == "zero_snr" and not known.zero_snr:
        able = ", ".join(other for other, n in NOISE_NAMES.items() if n.zero_snr)
        return f"{scheduler} has no zero-SNR option; these have: {able}"
    if name == "spacing" and not known.spacing:
        return f"{scheduler} has no timestep spacing; leave it out"
    if name == "eta" and scheduler not in ("ddim", "tcd"):
        return f"eta acts on ddim and tcd only, not on {scheduler}"
    if name == "steps" and scheduler in ("lcm", "tcd") and value > 50:
        return f"{scheduler} takes at most 50 steps, got {value}"
    return ""


class Block(Frozen):
    """One (prompt, seed). Every recipe of a study is shown on the same blocks."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
    seed: int = Field(ge=0, lt=2**32)

    @field_validator("prompt")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the prompt is blank")
        return value

    @cached_property
    def prompt_id(self) -> str:
        """Eight hex digits that name the prompt's text."""
        return short_hash(self.prompt, 8)


class Request(Frozen):
    """Recipe x block: one image to make."""

    recipe: Recipe
    block: Block

    @property
    def text(self) -> str:
        """The prompt that the model sees."""
        return self.recipe.prompt_template.replace("{prompt}", self.block.prompt)

    def image_key(self, fingerprint: str) -> str:
        """The image's name: hash of recipe, block and the model's fingerprint."""
        block = [self.block.prompt, self.block.seed]
        return short_hash([self.recipe.canonical, block, fingerprint], 24)


__all__ = ["SPACINGS", "Block", "Dtype", "Frozen", "Lora", "Recipe", "Request"]
