"""What comes in and goes out as JSON: the wish for pictures, the view of a job."""

from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, Field, Tag, field_validator, model_validator

from teststrip.recipe import MAX_PROMPT_CHARS, Frozen, Recipe
from teststrip.serve.jobs.job import Champion, Priority
from teststrip.serve.jobs.states import State

MOST_SEEDS = 64
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,127}$"


def _is_fields(value: Any) -> str:
    return "fields" if isinstance(value, (dict, Recipe)) else "name"


AnyRecipe = Annotated[
    Annotated[str, Field(pattern=NAME), Tag("name")] | Annotated[Recipe, Tag("fields")],
    Discriminator(_is_fields),
]


class Wish(Frozen):
    """What somebody asks for: a prompt, or a template and its product; a recipe; how many.

    `recipe`: a name of GET /api/recipes (`default` if left out), `champion`, `champion@3`, or all
    fields of a recipe (those left out have their defaults). `changes`: fields changed on top of a
    named one. `seeds`: one picture for each; or `n` pictures with `seed`, `seed` + 1, ...
    (chance if left out). `priority` may lower what the key has by itself.
    """

    prompt: str | None = Field(default=None, min_length=1, max_length=MAX_PROMPT_CHARS)
    template: str | None = Field(default=None, pattern=NAME)
    product: str | None = Field(default=None, min_length=1, max_length=500)
    recipe: AnyRecipe = "default"
    changes: dict[str, Any] = Field(default_factory=dict, max_length=20)
    n: int | None = Field(default=None, ge=1, le=MOST_SEEDS)
    seed: Seed | None = None
    seeds: tuple[Seed, ...] | None = Field(default=None, min_length=1, max_length=MOST_SEEDS)
    priority: Priority | None = None
    webhook: str | None = Field(default=None, min_length=1, max_length=2000)
    labels: dict[
        Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=200)]
    ] = Field(default_factory=dict, max_length=16)

    @field_validator("prompt", "product")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is blank")
        if value is not None and (bad := {c for c in value if ord(c) < 32} - set("\n\r\t")):
            raise ValueError(f"holds control characters: {sorted(bad)!r}")
        return value

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("holds a seed twice: it would be the same picture")
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> "Wish":
        if (self.prompt is None) == (self.product is None):
            raise ValueError("give `prompt`, or `product` (with `template`): one of the two")
        if self.template is not None and self.product is None:
            raise ValueError("`template` needs `product`")
        if self.seeds is not None and (self.n is not None or self.seed is not None):
            raise ValueError("give `seeds`, or `n` and `seed`: not both")
        if self.changes and isinstance(self.recipe, Recipe):
            raise ValueError("`changes` are for a named recipe: put them into `recipe`")
        return self


class BatchItem(Wish):
    """A wish in a batch; with its own idempotency key if it is to be found again."""

    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)


class Batch(Frozen):
    """Many wishes at once: all are checked before the first is accepted."""

    jobs: tuple[BatchItem, ...] = Field(min_length=1)


class ImageView(BaseModel):
    """A finished picture. `url` needs the key that the job has; it leads to the PNG."""

    index: int
    seed: int
    url: str
    sha256: str
    bytes: int
    facts: dict[str, Any]


class Progress(BaseModel):
    """Model calls: exact, since a recipe's calls are known beforehand."""

    calls_done: int
    calls_total: int


class JobView(BaseModel):
    """A job as it is now. Times are seconds since 1970; `eta_s` seconds from now.

    `position`: jobs that are taken up before this one (0: next). `reason`: why it failed.
    """

    id: str
    state: State
    priority: Priority
    prompt: str
    recipe_name: str
    recipe: Recipe
    recipe_id: str
    champion: Champion | None
    seeds: list[int]
    labels: dict[str, str]
    progress: Progress
    position: int | None = None
    eta_s: float | None = None
    images: list[ImageView]
    previews: list[str] = Field(default_factory=list, description="of pictures under way (WebP)")
    reason: str | None = None
    note: str | None = None
    accepted: float
    started: float | None = None
    ended: float | None = None
    expires: float | None = None
    url: str
    cancel_url: str


class Recovering(BaseModel):
    """A job that was accepted and whose record is being recovered from the queue."""

    id: str
    state: State = "queued"
    note: str
    url: str


class JobList(BaseModel):
    """A page of jobs, newest first. `next`: the cursor of the page after it, null at the end."""

    jobs: list[JobView]
    next: str | None


class BatchAnswer(BaseModel):
    """One entry for each wish, in its order: the job, or why the queue refused it."""

    jobs: list[dict[str, Any]]
