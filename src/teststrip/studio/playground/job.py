"""One job of the playground: a recipe, a prompt, some seeds, and what came of them."""

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from teststrip.recipe import Block, Recipe, Request

OPEN = ("waiting", "running")
STATES = (*OPEN, "done", "cancelled", "failed")


@dataclass(frozen=True)
class Made:
    """A picture. `size`: of its file in bytes."""

    key: str
    seed: int
    seconds: float
    size: int


@dataclass
class Job:
    """Changed by the worker alone, read by pages; `version` goes up with every change."""

    id: str
    created: str
    recipe: Recipe
    prompt: str
    seeds: tuple[int, ...]
    state: str = "waiting"
    why: str = ""
    images: list[Made] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    calls_done: int = 0
    calls_total: int = 0
    begun: float | None = None
    version: int = 0
    is_cancelled: bool = False

    @property
    def is_open(self) -> bool:
        """Is there something to wait for?"""
        return self.state in OPEN

    @property
    def requests(self) -> list[Request]:
        """One for each seed."""
        return [
            Request(recipe=self.recipe, block=Block(prompt=self.prompt, seed=seed))
            for seed in self.seeds
        ]

    @property
    def pending(self) -> list[int]:
        """Seeds that have neither a picture nor a fault."""
        known = {made.seed for made in self.images} | set(self.failures)
        return [seed for seed in self.seeds if seed not in known] if self.is_open else []

    @property
    def eta_s(self) -> float | None:
        """Seconds left, by the model calls that remain; None before the first one."""
        if self.begun is None or not self.calls_done:
            return None
        spent = time.monotonic() - self.begun
        return spent / self.calls_done * (self.calls_total - self.calls_done)

    @property
    def etag(self) -> str:
        """Another one whenever the page would look different."""
        return f'"{self.id}-{self.version}-{self.state}"'

    def begin(self) -> None:
        """The clock starts with the first model call, not while the model is being opened."""
        if self.begun is None:
            self.begun = time.monotonic()

    def image(self, key: str) -> Made | None:
        """The picture of that key."""
        return next((made for made in self.images if made.key == key), None)

    def as_dict(self) -> dict[str, Any]:
        """For the disk."""
        return {
            "id": self.id,
            "created": self.created,
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "prompt": self.prompt,
            "seeds": list(self.seeds),
            "state": self.state,
            "why": self.why,
            "images": [vars(made) for made in self.images],
            "failures": [[seed, why] for seed, why in self.failures.items()],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Job":
        """From the disk; what was under way when the studio ended is `cancelled`."""
        job = cls(
            id=str(data["id"]),
            created=str(data["created"]),
            recipe=Recipe.model_validate(data["recipe"]),
            prompt=str(data["prompt"]),
            seeds=tuple(int(seed) for seed in data["seeds"]),
            state=data["state"] if data["state"] in STATES else "failed",
            why=str(data["why"]),
            images=[Made(**made) for made in data["images"]],
            failures={int(seed): str(why) for seed, why in data["failures"]},
        )
        if job.is_open:
            job.state, job.why = "cancelled", "the studio ended before it was done"
        return job


def new_job(recipe: Recipe, prompt: str, seeds: tuple[int, ...]) -> Job:
    """A job with a name of its own; names sort by time."""
    now = datetime.now(UTC)
    return Job(
        id=f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06d}-{secrets.token_hex(3)}",
        created=now.isoformat(timespec="seconds"),
        recipe=recipe,
        prompt=prompt,
        seeds=seeds,
        calls_total=recipe.model_calls * len(seeds),
    )
