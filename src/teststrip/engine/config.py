"""EngineConfig: where and how images are made. Nothing here changes what an image shows."""

from typing import Literal

from pydantic import Field

from teststrip.recipe import Frozen


class EngineConfig(Frozen):
    """How an engine runs.

    `max_rows` bounds the rows of one forward, and so the memory; a guided image takes two rows.
    `deterministic` pads every forward to `max_rows`, so that a picture's bytes never depend on
    its neighbours. `dtype` "auto" is bf16 on CPUs and GPUs that compute in it, else fp32 (CPU) or
    fp16 (GPU). `patience`: how many requests may overtake the oldest waiting one.
    `cached_adapters`: LoRAs that stay loaded; who was not used longest goes.
    """

    model: str = Field(default="builtin", min_length=1, max_length=500)
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    max_rows: int = Field(default=24, ge=2, le=512)
    deterministic: bool = False
    finish_threads: int | None = Field(default=None, ge=0, le=4)
    patience: int = Field(default=64, ge=0)
    cached_adapters: int = Field(default=8, ge=1, le=256)
    cached_prompts: int = Field(default=1024, ge=2)
    allow_pickle: bool = False
