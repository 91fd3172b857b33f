"""One image on its way: its own noise scheduler, generator and latents."""

import inspect
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch

from teststrip.engine.adapter_files import Adapter
from teststrip.engine.noise_schedulers import build
from teststrip.engine.pipelines.base import StepPipeline
from teststrip.engine.preview import clean_estimate
from teststrip.engine.prompts import PromptCache
from teststrip.recipe import Request
from teststrip.records import Progress


@dataclass(eq=False)
class Flight:
    """A request from its ticket to its decode.

    While it waits it is a few names and numbers; `board` gives it tensors, so memory is bounded
    by the rows on board. `noise_scheduler` is this request's own diffusers object (they keep
    state: diffusers #7851). `latents`: [1, C, h, w] in the pipeline's dtype.
    """

    ticket: int
    request: Request
    image_key: str
    batch_key: Hashable
    rows: int
    width: int
    height: int
    adapters: tuple[Adapter, ...] = ()
    index: int = 0
    seconds: float = 0.0
    noise_scheduler: Any = None
    latents: Any = None
    conditions: tuple[Any, ...] = ()
    _step_options: dict[str, Any] = field(default_factory=dict)
    _last: tuple[Any, ...] = ()

    @property
    def is_on_board(self) -> bool:
        """True once it has tensors."""
        return self.noise_scheduler is not None

    @property
    def is_done(self) -> bool:
        """True when only the decode is left."""
        return self.is_on_board and self.index >= len(self.noise_scheduler.timesteps)

    @property
    def progress(self) -> Progress:
        """Exact progress, in model calls: more than steps for PNDM and second-order schedulers."""
        total = len(self.noise_scheduler.timesteps) if self.is_on_board else 0
        return Progress(self.request, self.index, total or self.request.recipe.model_calls)

    @property
    def timestep(self) -> Any:
        """The 0-d timestep tensor of the next model call."""
        return self.noise_scheduler.timesteps[self.index]

    def board(self, pipeline: StepPipeline, prompts: PromptCache) -> None:
        """Encode the prompt, draw the initial noise. Raises GenerationError.

        Order as in the pipeline: one generator per request, seeded on the CPU so that a seed means
        the same noise on every device; one draw; times `init_noise_sigma` after set_timesteps.
        """
        recipe, block = self.request.recipe, self.request.block
        noise_scheduler = build(self.request, pipeline.noise_config, pipeline.device)
        positive = prompts.encode(pipeline, self.request.text, self.adapters, recipe.clip_skip)
        if self.rows == 2:
            # The pipeline applies clip skip to the positive prompt only.
            negative = prompts.encode(pipeline, recipe.negative_prompt, self.adapters, 0)
            self.conditions = (negative, positive)
        else:
            self.conditions = (positive,)
        generator = torch.Generator("cpu").manual_seed(block.seed)
        noise = pipeline.initial_noise(self.width, self.height, generator)
        self.latents = noise * noise_scheduler.init_noise_sigma
        accepted = inspect.signature(noise_scheduler.step).parameters
        options = {"eta": recipe.eta, "generator": generator}
        self._step_options = {key: value for key, value in options.items() if key in accepted}
        self.noise_scheduler = noise_scheduler

    def model_input(self) -> list[Any]:
        """The scaled latents of the next call, once per row, each [1, C, h, w]."""
        return [self.noise_scheduler.scale_model_input(self.latents, self.timestep)] * self.rows

    def advance(self, prediction: Any) -> None:
        """One noise-scheduler step from the model's output [rows, C, h, w] for this request.

        On a batch-1 slice with `timesteps[i]` itself: a vector of timesteps breaks `step`, an int
        breaks Euler.
        """
        recipe = self.request.recipe
        if self.rows == 2:
            without, with_prompt = prediction.chunk(2)
            prediction = without + recipe.guidance * (with_prompt - without)
            if recipe.rescale > 0:
                prediction = rescaled(prediction, with_prompt, recipe.rescale)
        timestep, before = self.timestep, self.latents
        told = self.noise_scheduler.step(
            prediction, timestep, before, **self._step_options, return_dict=False
        )
        self.latents = told[0]
        self._last = (told, prediction, before, timestep)
        self.index += 1

    def estimate(self) -> Any | None:
        """The finished latents [1, C, h, w] as foreseen now; None before the first model call."""
        return clean_estimate(self.noise_scheduler, *self._last) if self._last else None


def rescaled(guided: Any, with_prompt: Any, amount: float) -> Any:
    """Guidance rescale, arXiv 2305.08891 section 3.4; the arithmetic of diffusers, per image."""
    dims = list(range(1, guided.ndim))
    std_text = with_prompt.std(dim=dims, keepdim=True)
    std_guided = guided.std(dim=dims, keepdim=True)
    return amount * (guided * (std_text / std_guided)) + (1 - amount) * guided
