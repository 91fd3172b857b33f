"""JobRecord: all that is known of a job. JSON both ways: it travels in the queue's message too."""

import time
from typing import Any, Literal

from pydantic import Field

from teststrip.recipe import Block, Frozen, Recipe, Request
from teststrip.serve.jobs.states import ENDED, State, check_move

Priority = Literal["people", "api", "sweep"]
PRIORITIES: tuple[Priority, ...] = ("people", "api", "sweep")
FORMAT = 1


class Champion(Frozen):
    """The registered version that a job's recipe came from."""

    name: str
    version: str
    run_id: str = ""


class Image(Frozen):
    """One finished picture: where it lies and what it is."""

    index: int = Field(ge=0)
    seed: int
    key: str
    sha256: str
    bytes: int
    facts: dict[str, Any] = Field(default_factory=dict)


def manifest_key(key: str) -> str:
    """Where the last record of the job with this key lies in the store."""
    return f"jobs/{key}/job.json"


class JobRecord(Frozen):
    """A job at one moment; every change makes a new one (`changed`).

    `recipe` is fixed when the job is accepted, so that a second attempt makes the same pictures
    even where another champion was crowned meanwhile. `fence` grows with every claim: a worker
    that lost its claim cannot write. `calls_done` / `calls_total` are model calls. Times are
    seconds since 1970.
    """

    format: int = FORMAT
    id: str  # the signed name (jobs.ids)
    key: str  # 32 hex digits: the name in queue, state and store
    owner: str  # id of the API key, or "local"
    priority: Priority = "api"
    prompt: str
    recipe: Recipe
    recipe_name: str = "default"
    champion: Champion | None = None
    seeds: tuple[int, ...] = Field(min_length=1)
    webhook: str | None = None
    body_hash: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    trace: dict[str, str] = Field(default_factory=dict)  # W3C trace context, if any

    state: State = "queued"
    published: bool = False
    attempt: int = 0  # how often a worker took it up
    fence: int = 0
    worker: str = ""
    lease_until: float = 0.0
    cancel_asked: bool = False
    calls_done: int = 0
    images: tuple[Image, ...] = ()
    reason: str | None = None
    accepted: float = Field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    expires: float | None = None
    version: int = 0  # grows with every change: the ETag

    @property
    def is_ended(self) -> bool:
        """Done, failed, cancelled or expired."""
        return self.state in ENDED

    @property
    def calls_total(self) -> int:
        """Model calls that the whole job costs."""
        return self.recipe.model_calls * len(self.seeds)

    @property
    def requests(self) -> list[Request]:
        """What the engine is to make, in the order of the seeds."""
        return [
            Request(recipe=self.recipe, block=Block(prompt=self.prompt, seed=seed))
            for seed in self.seeds
        ]

    def image_key(self, index: int) -> str:
        """Where picture `index` belongs in the store; the same for every attempt."""
        return f"jobs/{self.key}/{index}.png"

    @property
    def manifest_key(self) -> str:
        """Where the job's last record lies in the store: what is left if the state is lost."""
        return manifest_key(self.key)

    def changed(self, **fields: Any) -> "JobRecord":
        """A copy with some fields changed and a higher version. Raises IllegalMove."""
        if "state" in fields and fields["state"] != self.state:
            check_move(self.state, fields["state"])
        return self.model_copy(update=fields | {"version": self.version + 1})
