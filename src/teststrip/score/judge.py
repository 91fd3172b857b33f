"""A vision model behind an OpenAI-compatible endpoint as judge (vLLM, llama.cpp, hosted ones).

Only the picture and its prompt are sent: settings inside the PNG are taken out first, so that the
judge cannot be swayed by them and nothing of them leaves the machine.
"""

import base64
import io
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image
from pydantic import Field, field_validator

from teststrip import png
from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.recipe import Frozen, short_hash
from teststrip.records import Generation
from teststrip.score.chat import ChatEndpoint, Unanswered

VERSION = 1
KEY_VARIABLE = "TESTSTRIP_JUDGE_API_KEY"
RUBRIC = """You judge a generated picture against the prompt it was made from.
Give one score from 0 to 10, where 10 means: everything the prompt asks for is there, drawn \
without faults in shape, anatomy, text and lighting; 5 means: the subject is there with clear \
faults; 0 means: unrelated to the prompt or not a picture at all.
Judge only what you see. Answer with JSON alone: {"score": NUMBER}"""
log = logging.getLogger(__name__)


class JudgeOptions(Frozen):
    """Where the judge is and how it is asked.

    `base_url` ends before /chat/completions. The key is read from the environment variable named
    `api_key_env`, never from a file; without the variable no key is sent. `max_side`: larger
    pictures are scaled down to it, in px. `concurrency`: requests at once.
    """

    base_url: str
    model: str = Field(min_length=1, max_length=200)
    rubric: str = Field(default=RUBRIC, min_length=1, max_length=20_000)
    api_key_env: str = Field(default=KEY_VARIABLE, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    timeout_s: float = Field(default=60, gt=0, le=3600)
    retries: int = Field(default=3, ge=0, le=10)
    max_wait_s: float = Field(default=60, ge=0, le=3600)
    concurrency: int = Field(default=4, ge=1, le=64)
    max_side: int = Field(default=1024, ge=32, le=4096)
    max_tokens: int = Field(default=300, ge=8, le=32_000)

    @field_validator("base_url")
    @classmethod
    def _plain_http_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https address, such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(f"must hold no key; put it into the variable {KEY_VARIABLE}")
        return value.rstrip("/")


class JudgeScorer:
    """Asks for one number from 0 to 10 per picture. Column `judge:<model>@<hash of the rubric>`.

    An answer without such a number, a refusal or a server that stays away gives NaN and a logged
    reason. The endpoint must answer alike each time to keep the law "same picture, same number":
    temperature 0 and a fixed seed are asked for, which not every server honours. Raises
    ConfigError for wrong options, ModelError when the endpoint turns key, model or address down.
    """

    def __init__(self, **options: Any) -> None:
        self.options = parse(JudgeOptions, options, "scorer judge")
        key = os.environ.get(self.options.api_key_env, "")
        if not key and self.options.api_key_env != KEY_VARIABLE:
            raise ConfigError(f"scorer judge: the variable {self.options.api_key_env} is not set")
        if key and _sends_in_clear(self.options.base_url):
            log.warning("judge: the key travels unencrypted to %s", self.options.base_url)
        self._endpoint = ChatEndpoint(
            self.options.base_url,
            key,
            timeout_s=self.options.timeout_s,
            retries=self.options.retries,
            max_wait_s=self.options.max_wait_s,
        )
        rubric = [VERSION, self.options.rubric, self.options.max_side]
        self.column = f"judge:{self.options.model}@{short_hash(rubric, 8)}"

    @property
    def columns(self) -> Mapping[str, bool]:
        """Column name -> is higher better?"""
        return {self.column: True}

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Judge a batch, at most `concurrency` pictures at once."""
        with (
            httpx.Client(timeout=self.options.timeout_s) as client,
            ThreadPoolExecutor(self.options.concurrency, "teststrip-judge") as pool,
        ):
            values = list(pool.map(lambda g: self._ask(client, g), generations))
        return [{self.column: value} for value in values]

    def _ask(self, client: httpx.Client, generation: Generation) -> float:
        try:
            return read_score(self._endpoint.ask(client, self._body(generation)))
        except (ConfigError, Unanswered) as exc:
            log.warning("judge: picture %s: %s", generation.image_key, exc)
            return float("nan")

    def _body(self, generation: Generation) -> dict[str, Any]:
        """The chat request for one picture."""
        picture = {"url": data_uri(generation.png, self.options.max_side)}
        prompt = f"The prompt:\n{generation.request.block.prompt}"
        return {
            "model": self.options.model,
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.options.max_tokens,
            "messages": [
                {"role": "system", "content": self.options.rubric},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": prompt},
                        {"type": "image_url", "image_url": picture},
                    ],
                },
            ],
        }


def data_uri(data: bytes, max_side: int) -> str:
    """The picture alone, without text chunks, as a PNG data URI. Raises ConfigError."""
    image = Image.fromarray(png.pixels(data))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def read_score(answer: str) -> float:
    """The number in the answer's last JSON object with a `score`. Raises Unanswered without one."""
    for text in reversed(re.findall(r"\{[^{}]{0,2000}\}", answer)):
        try:
            value = json.loads(text).get("score")
        except ValueError:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10:
            return float(value)
    raise Unanswered(f'no {{"score": 0 to 10}} in its answer: {answer[:200]!r}')


def _sends_in_clear(base_url: str) -> bool:
    """True for http to another machine."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ip_address(str(parts.hostname)).is_loopback
    except ValueError:
        return True
