"""The body of POST /v1/images/generations: OpenAI's fields, and ours for what it has no word for.

Checked here field by field, so that each fault has OpenAI's message, `param` and `code`.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from teststrip.recipe import MAX_PROMPT_CHARS
from teststrip.serve.web.openai_faults import OpenAIFault

Format = Literal["png", "jpeg", "webp"]
SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
MOST_N = 10


class ImagesBody(BaseModel):
    """What OpenAI's Images API takes, and extensions named as in other compatible servers.

    `model`: a recipe's name, `champion`, `champion@3` or a model that is served; the default
    recipe if left out. Extensions: `seed`, `negative_prompt`, `num_inference_steps`,
    `guidance_scale`, `scheduler`. `quality`, `style` and `background` change nothing here, so only
    the values that ask for nothing are taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS)
    model: str | None = Field(default=None, min_length=1, max_length=500)
    n: int | None = Field(default=None, ge=1, le=MOST_N)
    size: str | None = Field(default=None, max_length=20, examples=["auto", "512x512"])
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Format | None = None
    output_compression: int | None = Field(default=None, ge=0, le=100)
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    style: Literal["natural"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(default=None, ge=0, le=3)
    user: str | None = Field(default=None, max_length=200)
    safety_identifier: str | None = Field(default=None, max_length=200)

    seed: int | None = Field(default=None, ge=0, lt=2**32)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT_CHARS)
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    scheduler: str | None = Field(default=None, min_length=1, max_length=100)

    @field_validator("size")
    @classmethod
    def _is_size(cls, value: str | None) -> str | None:
        if value is not None and value != "auto" and not SIZE.fullmatch(value):
            raise ValueError(
                f"Invalid value: {value!r}. Expected 'auto' or WIDTHxHEIGHT in pixels."
            )
        return value

    @property
    def format(self) -> Format:
        """Of the pictures that are sent."""
        return self.output_format or "png"

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height; None for the recipe's own."""
        found = SIZE.fullmatch(self.size or "")
        return (int(found[1]), int(found[2])) if found else None


def read(data: Any) -> ImagesBody:
    """The body from parsed JSON. Raises OpenAIFault with the first fault, as OpenAI does."""
    if not isinstance(data, dict):
        raise OpenAIFault(400, "Invalid type for the body: expected an object.")
    try:
        body = ImagesBody.model_validate(data)
    except ValidationError as exc:
        raise _fault(min(exc.errors(), key=_place)) from exc
    if body.output_compression is not None and body.format == "png":
        raise _cannot("output_compression", "it is for 'jpeg' and 'webp'")
    if body.response_format == "url" and body.format != "png":
        raise _cannot("output_format", "pictures at addresses are 'png'")
    if body.partial_images and not body.stream:
        raise _cannot("partial_images", "it needs 'stream' to be true")
    if body.stream and (body.n or 1) > 1:
        raise _cannot("n", "a stream holds one picture")
    if body.stream and body.response_format == "url":
        raise _cannot("response_format", "streams hold 'b64_json'")
    return body


def _cannot(param: str, why: str) -> OpenAIFault:
    message = f"Invalid value for '{param}': {why}."
    return OpenAIFault(400, message, param=param, code="invalid_value")


def _place(error: Any) -> int:
    """Unknown fields first, then as they are declared."""
    order = list(ImagesBody.model_fields)
    where = error["loc"]
    return order.index(where[0]) if where and where[0] in order else -1


def _fault(error: Any) -> OpenAIFault:
    param = ".".join(str(part) for part in error["loc"])
    message, code = _words(param, error)
    return OpenAIFault(400, message, param=param[:100] or None, code=code)


def _words(param: str, error: Any) -> tuple[str, str]:  # noqa: PLR0911 - one line for each kind
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"Unknown parameter: '{param[:100]}'.", "unknown_parameter"
    if kind == "missing":
        return f"Missing required parameter: '{param}'.", "missing_required_parameter"
    if kind == "literal_error":
        accepted = _listed(_choices(param))
        return f"Invalid value: {_shown(given)}. Supported values are: {accepted}.", "invalid_value"
    if kind == "string_too_long":
        return (
            f"Invalid '{param}': string too long. Expected a string with maximum length "
            f"{context['max_length']}, but got a string with length {len(given)} instead.",
            "string_above_max_length",
        )
    if kind == "string_too_short":
        return (
            f"Invalid '{param}': empty string. Expected a string with minimum length "
            f"{context['min_length']}, but got an empty string instead.",
            "empty_string",
        )
    if kind in {"less_than_equal", "less_than", "greater_than_equal"}:
        number = "integer" if isinstance(given, int) else "decimal"
        word, sign = ("below minimum", ">=") if kind[0] == "g" else ("above maximum", "<=")
        bound = context.get("ge", context.get("le", context.get("lt", 0) - 1))
        return (
            f"Invalid '{param}': {number} {word} value. Expected a value {sign} {bound}, but got "
            f"{_shown(given)} instead.",
            f"{number}_{word.split()[0]}_{word.split()[1][:3]}_value",
        )
    if kind.endswith("_type") or kind.startswith(("int_", "float_", "bool_")):
        expected = {"s": "a string", "i": "an integer", "f": "a decimal", "b": "a boolean"}[kind[0]]
        return (
            f"Invalid type for '{param}': expected {expected}, but got {_kind(given)} instead.",
            "invalid_type",
        )
    return str(error["msg"]).removeprefix("Value error, "), "invalid_value"


def _choices(param: str) -> Sequence[str]:
    annotation = ImagesBody.model_fields[param].annotation
    return [value for part in get_args(annotation) for value in get_args(part)]


def _listed(values: Sequence[str]) -> str:
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return ", ".join(quoted[:-1]) + f", and {quoted[-1]}"


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: Any) -> str:
    names = {bool: "a boolean", str: "a string", int: "an integer", float: "a decimal"}
    names |= {list: "an array", dict: "an object", type(None): "null"}
    return names.get(type(value), "something else")
