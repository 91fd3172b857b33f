"""params.yaml, checked as a whole: every fault at once, before any stage begins.

`auto` is accepted where a good value follows from the model, so that another model is one changed
line; what it became stands in the stage's lock record.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from teststrip.config import parse, read_yaml
from teststrip.project.layout import Kind
from teststrip.recipe import Frozen

Auto = Literal["auto"]


class Prepare(Frozen):
    """`size`: side of the squares that pictures become, in px; auto: the model's own."""

    size: int | Auto = "auto"


class Train(Frozen):
    """What is fine-tuned, and how. `settings`: any other key of a training file (docs/training.md).

    `learning_rate` auto: 1e-4, as is usual for models of Stable Diffusion's size, and 2e-3 for
    small ones. `class_prompt` keeps the subject's class as it was; kind `lora` has neither prompt.
    """

    model_name: str = Field(default="builtin", min_length=1, max_length=500)
    revision: str | None = Field(default=None, max_length=200)
    instance_prompt: str | None = Field(default=None, min_length=1, max_length=2000)
    class_prompt: str | None = Field(default=None, min_length=1, max_length=2000)
    image_size: int | Auto = "auto"
    learning_rate: float | Auto = "auto"
    steps: int = Field(default=200, ge=1, le=1_000_000)
    settings: dict[str, Any] = Field(default_factory=dict)


class Select(Frozen):
    """How the checkpoint is chosen (`teststrip train select`).

    `when_refused`: what happens where no checkpoint is better than the base model: `newest` goes
    on with the newest, named unproven everywhere; `stop` ends the pipeline there.
    """

    scales: tuple[float, ...] = Field(default=(0.75, 1.0), min_length=1, max_length=16)
    top: int = Field(default=2, ge=1, le=64)
    when_refused: Literal["newest", "stop"] = "newest"


class Infer(Frozen):
    """Pictures with what was learned, and the same without it.

    `prompt` is drawn `number_images` times, seeds from `infer_seed` on, for people to look at.
    The prompts of data/prompts.txt are drawn `check_seeds` times each and scored by `scorers`.
    """

    prompt: str = Field(min_length=1, max_length=2000)
    guidance: float | None = Field(default=None, ge=0, le=100)
    infer_seed: int = Field(default=0, ge=0, lt=2**31)
    number_images: int = Field(default=4, ge=1, le=256)
    steps: int | None = Field(default=None, ge=1, le=1000)
    scheduler: str | None = Field(default=None, min_length=1)
    check_seeds: int = Field(default=2, ge=1, le=64)
    scorers: tuple[str, ...] = Field(default=("clip",), min_length=1)


class Report(Frozen):
    """`score`: the one that the verdict is about; auto: the first of `infer.scorers`."""

    score: str = "auto"
    confidence: float = Field(default=0.95, ge=0.5, lt=1)


class Params(Frozen):
    """The whole of params.yaml."""

    kind: Kind
    prepare: Prepare = Prepare()
    train: Train = Train()
    select: Select = Select()
    study: dict[str, Any] = Field(default_factory=dict)
    infer: Infer
    report: Report = Report()

    @model_validator(mode="after")
    def _what_its_kind_needs(self) -> Self:
        if self.kind == "dreambooth" and self.train.instance_prompt is None:
            raise ValueError("kind dreambooth needs train.instance_prompt, which names the subject")
        if self.kind == "study" and not self.study:
            raise ValueError("kind study needs the section study: what a study file holds")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check params.yaml. Raises ConfigError with every fault."""
        return parse(cls, read_yaml(path), str(path))
