"""What a training run is: its file, read into one frozen object, with all faults shown together."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from teststrip.config import parse, read_yaml, with_changes
from teststrip.recipe import Dtype, Frozen
from teststrip.study.config import NAME_PATTERN, Named

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
Share = Field(ge=0, le=1)


class Base(Frozen):
    """What is fine-tuned: a shipped model, a diffusers folder or a hub id."""

    model: str = Field(default="builtin", min_length=1, max_length=500)
    revision: str | None = Field(default=None, max_length=200)

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_a_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Data(Frozen):
    """Training pictures: a folder of images, or a Hugging Face dataset that was saved to disk.

    Captions come from `metadata.jsonl` (file_name, text) or from a .txt beside each picture.
    `held_out`: share of pictures that are never trained on, chosen by a hash of their content.
    `crops`: random crops kept for each picture; 1 is the centre. `size`: [width, height] in px,
    the model's own where it is not given. `buckets`: keep the shape of pictures, at equal area.
    """

    source: str = Field(min_length=1)
    image_column: str = "image"
    caption_column: str = "text"
    caption: str | None = Field(default=None, min_length=1, max_length=2000)
    held_out: float = Field(default=0.1, ge=0, le=0.5)
    size: tuple[int, int] | None = None
    buckets: bool = False
    crops: int = Field(default=1, ge=1, le=16)
    flip: bool = False

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_a_source(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @field_validator("size", mode="before")
    @classmethod
    def _a_number_is_a_square(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value

    @field_validator("size")
    @classmethod
    def _a_size_that_models_make(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and any(px % 8 or not 16 <= px <= 4096 for px in value):
            raise ValueError("multiples of 8 from 16 to 4096 px are accepted")
        return value


class Subject(Frozen):
    """DreamBooth: one subject from a few pictures, and its class kept as it was.

    `class_pictures` images of `class_prompt` are made by the base model before training and
    trained beside the subject with `prior_weight` (Ruiz et al. 2022, arXiv 2208.12242).
    """

    instance_prompt: str = Field(min_length=1, max_length=2000)
    class_prompt: str | None = Field(default=None, min_length=1, max_length=2000)
    class_pictures: int = Field(default=100, ge=1, le=10_000)
    prior_weight: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _prior_needs_both(self) -> Self:
        if (self.class_prompt is None) != (self.prior_weight is None):
            raise ValueError(
                "class_prompt and prior_weight go together: give both (1.0 is usual) to keep the "
                "class as it was, or neither"
            )
        return self


class Lora(Frozen):
    """The adapter. `alpha`: its strength is alpha / rank (alpha / sqrt(rank) with `rslora`).

    `targets`: layers by the end of their names. `text_encoder` trains one there, too.
    """

    rank: int = Field(default=8, ge=1, le=512)
    alpha: float | None = Field(default=None, gt=0, le=1024)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(default=ATTENTION, min_length=1)
    dora: bool = False
    rslora: bool = False
    text_encoder: bool = False

    @property
    def strength(self) -> float:
        """Alpha as it is used: the rank where none is given."""
        return float(self.rank if self.alpha is None else self.alpha)


class Loss(Frozen):
    """`snr_gamma`: min-SNR weighting (Hang et al. 2023, arXiv 2303.09556); 5 is usual.

    `noise_offset`: a constant per channel added to the noise. `caption_dropout`: share of pictures
    that are trained without words, which keeps guidance working.
    """

    snr_gamma: float | None = Field(default=None, gt=0, le=100)
    noise_offset: float = Field(default=0.0, ge=0, le=1)
    caption_dropout: float = Field(default=0.0, ge=0, le=1)


class Optimizer(Frozen):
    """`lr` 1.0 is usual for prodigy, 1e-4 for the others."""

    name: Literal["adamw", "adamw8bit", "prodigy"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    text_encoder_lr: float | None = Field(default=None, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class Rate(Frozen):
    """How the learning rate goes: diffusers' schedules by name."""

    name: Literal["constant", "linear", "cosine", "polynomial"] = "constant"
    warm_up: int = Field(default=0, ge=0)


class Cache(Frozen):
    """What is computed once and kept on disk; both change the speed, never a number."""

    latents: bool = True
    texts: bool = True


class Every(Frozen):
    """After how many optimizer steps something is done. `keep`: states that can be resumed."""

    log: int = Field(default=10, ge=1)
    held_out: int = Field(default=50, ge=1)
    checkpoint: int = Field(default=100, ge=1)
    keep: int = Field(default=2, ge=1)


class Validation(Frozen):
    """Images made at every checkpoint, by the same recipe, at the same prompts and seeds.

    `recipe`: fields of a recipe; the base model's own defaults where not given. `scorers`: as in a
    study file. Step 0 is the base model.
    """

    prompts: tuple[str, ...] = Field(default=(), max_length=256)
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1, max_length=64)
    recipe: dict[str, Any] = Field(default_factory=dict)
    scorers: tuple[Named, ...] = (Named(name="clip"),)
    draws: int = Field(default=8, ge=1, le=64, description="timesteps per held-out picture")

    @field_validator("scorers", "prompts", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | dict) else value


class TrainConfig(Frozen):
    """One training run. Frozen; unknown keys are refused.

    `classic_ema`: also log the moving loss without bias correction, as older charts show it.
    """

    name: str = Field(pattern=NAME_PATTERN)
    base: Base = Base()
    data: Data
    subject: Subject | None = None
    trigger: str = Field(default="", max_length=200)
    lora: Lora = Lora()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    rate: Rate = Rate()
    steps: int = Field(default=500, ge=1, le=10_000_000)
    batch: int = Field(default=4, ge=1, le=4096)
    accumulate: int = Field(default=1, ge=1, le=4096)
    clip: float | None = Field(default=1.0, gt=0)
    precision: Dtype = "fp32"
    gradient_checkpointing: bool = False
    ema: float | None = Field(default=None, gt=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    cache: Cache = Cache()
    every: Every = Every()
    classic_ema: bool = False
    validation: Validation = Validation()

    @property
    def kind(self) -> str:
        """What is written to run.json."""
        return "dreambooth" if self.subject else "lora"

    @classmethod
    def from_yaml(cls, path: Path, changes: tuple[str, ...] = ()) -> Self:
        """Read a training file; relative paths are beside it. Raises ConfigError, all faults."""
        data = read_yaml(path)
        found = parse(cls, with_changes(data if isinstance(data, dict) else {}, changes), str(path))
        source = (path.parent / Path(found.data.source).expanduser()).resolve()
        return found.model_copy(
            update={"data": found.data.model_copy(update={"source": str(source)})}
        )
