"""Engine: requests with different prompt, seed, guidance, noise scheduler and step count share one
model forward per step, and each gives the picture that the plain diffusers pipeline would."""

import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch

from teststrip import png
from teststrip.config import parse
from teststrip.engine import adapter_files, loading
from teststrip.engine import device as devices
from teststrip.engine.adapter_files import AdapterFiles
from teststrip.engine.config import EngineConfig
from teststrip.engine.finish import Finisher
from teststrip.engine.flight import Flight
from teststrip.engine.pipelines.base import StepPipeline
from teststrip.engine.pipelines.sd import StableDiffusion
from teststrip.engine.preview import LatentPreview
from teststrip.engine.prompts import PromptCache
from teststrip.engine.scheduler import StepScheduler
from teststrip.errors import ConfigError, GenerationError, TeststripError
from teststrip.protocols import OnProgress
from teststrip.recipe import Recipe, Request
from teststrip.records import Failure, Generation, Outcome, Progress

log = logging.getLogger(__name__)
LOOK_AHEAD = 256


class Engine:
    """Makes images of one model, batched step by step. Not thread-safe; own it from one thread.

    Open it with `Engine.open("builtin")`, use it as a context manager. `generate` is the everyday
    call; a service uses `add_request`, `step` and `cancel`.
    """

    def __init__(
        self,
        pipeline: StepPipeline,
        config: EngineConfig,
        *,
        fingerprint: str,
        defaults: dict[str, Any],
        dtype: str,
    ) -> None:
        self.config = config
        self.default_recipe = Recipe.model_validate(
            {"model": config.model, "revision": config.revision} | defaults
        )
        self.fingerprint = f"{fingerprint}-{dtype}"
        self.dtype = dtype
        self._pipeline = pipeline
        self._adapters = AdapterFiles()
        self._prompts = PromptCache(config.cached_prompts)
        self._preview = LatentPreview(pipeline)
        self._scheduler: StepScheduler[Flight] = StepScheduler(config.max_rows, config.patience)
        threads = config.finish_threads
        if threads is None:
            threads = 1 if pipeline.device.type == "cuda" else 0
        self._finisher = Finisher(threads, pipeline.device)
        self._tickets = itertools.count(1)
        self._flights: dict[int, Flight] = {}
        self._facts = devices.facts(pipeline.device) | {
            "fingerprint": self.fingerprint,
            "dtype": dtype,
            "deterministic": config.deterministic,
            "rows": config.max_rows if config.deterministic else None,
        }

    @classmethod
    def open(cls, model: str = "builtin", **options: Any) -> Self:
        """Open a shipped model, a diffusers folder or a hub id; options are EngineConfig's.

        Raises ConfigError (all faults of the options at once) or ModelError (what is wrong with
        the model and what to do).
        """
        config = parse(EngineConfig, {"model": str(model)} | options, "engine options")
        device = devices.find(config.device)
        dtype = devices.pick_dtype(config.dtype, device)
        folder = loading.find_folder(config.model, config.revision)
        pipe = loading.open_pipeline(
            folder, devices.TORCH_DTYPES[dtype], device, allow_pickle=config.allow_pickle
        )
        devices.prepare(device, deterministic=config.deterministic)
        return cls(
            StableDiffusion(pipe, config.cached_adapters),
            config,
            fingerprint=loading.fingerprint(Path(folder)),
            defaults=loading.default_fields(folder),
            dtype=dtype,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model and the threads; twice is harmless."""
        self._finisher.close()
        self._flights.clear()
        self._pipeline.close()

    def fingerprint_of(self, recipe: Recipe) -> str:
        """Weights that would make this recipe's images: the model's and its adapters' content.

        Raises ModelError for an adapter file that is not there.
        """
        return adapter_files.fingerprint(self.fingerprint, self._adapters.find(recipe.loras))

    def size(self, recipe: Recipe) -> tuple[int, int]:
        """(width, height) in pixels. Raises ConfigError if the model cannot make that size."""
        return self._pipeline.size(recipe)

    # -- the small interface, for services ------------------------------------------------------

    def add_request(self, request: Request) -> int:
        """Queue one image; returns its ticket. Raises ConfigError, ModelError."""
        recipe = request.recipe
        if recipe.model != self.config.model or recipe.revision != self.config.revision:
            raise ConfigError(
                f"this engine has model {self.config.model!r} open, the recipe asks for "
                f"{recipe.model!r}; open another engine or use EnginePool"
            )
        if recipe.dtype not in (None, self.dtype):
            raise ConfigError(
                f"this engine computes in {self.dtype}, the recipe asks for {recipe.dtype}"
            )
        width, height = self._pipeline.size(recipe)
        adapters = self._adapters.find(recipe.loras)
        fingerprint = adapter_files.fingerprint(self.fingerprint, adapters)
        flight = Flight(
            ticket=next(self._tickets),
            request=request,
            image_key=request.image_key(fingerprint),
            batch_key=(width, height, adapters),
            rows=2 if self._pipeline.is_guided(recipe) else 1,
            width=width,
            height=height,
            adapters=adapters,
        )
        self._flights[flight.ticket] = flight
        self._scheduler.add(flight)
        return flight.ticket

    def cancel(self, ticket: int) -> bool:
        """Drop a request; its rows are free at the next step. False if it is not under way."""
        flight = self._flights.pop(ticket, None)
        if flight is not None:
            self._scheduler.remove(flight)
        return flight is not None

    def progress(self, ticket: int) -> Progress | None:
        """How far a request is, or None if it is not under way."""
        flight = self._flights.get(ticket)
        return flight.progress if flight else None

    @torch.inference_mode()
    def preview(self, ticket: int, longest: int = 256) -> bytes | None:
        """How the picture will look, foreseen from here: a WebP of at most `longest` px.

        None before its first model call and after its last. About 2 ms; the first call fits the
        colours of the model (some small decodes).
        """
        flight = self._flights.get(ticket)
        estimate = flight.estimate() if flight else None
        if flight is None or estimate is None:
            return None
        return self._preview.webp(estimate, (flight.width, flight.height), longest)

    @torch.inference_mode()
    def step(self, on_progress: OnProgress | None = None) -> list[Outcome]:
        """One model forward for everybody on board; returns what finished meanwhile."""
        begun = time.perf_counter()
        batch = self._scheduler.next_batch()
        failures = [self._fail(flight, exc) for flight, exc in self._board(batch)]
        batch = [flight for flight in batch if flight.is_on_board]
        if batch and self._forward(batch):
            share = (time.perf_counter() - begun) / len(batch)
            for flight in batch:
                flight.seconds += share
                if on_progress is not None:
                    on_progress(flight.progress)
                if flight.is_done:
                    self._scheduler.remove(flight)
                    del self._flights[flight.ticket]
                    self._finisher.submit(partial(self._finish, flight))
        idle = not self._scheduler and not failures
        return [*failures, *self._finisher.collect(wait=idle)]

    @property
    def slots(self) -> int:
        """Guided images that share one forward."""
        return max(self._scheduler.max_rows // 2, 1)

    @property
    def is_idle(self) -> bool:
        """True when nothing waits, flies or is being decoded."""
        return not self._scheduler and not self._finisher

    # -- the everyday interface -----------------------------------------------------------------

    def generate(
        self, requests: Iterable[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Outcome]:
        """Yield each request's Generation or Failure as it finishes.

        Long requests board first within a look-ahead of 256, so that rows stay full to the end.
        Closing the iterator cancels what is left.
        """
        waiting = iter(requests)
        mine: set[int] = set()
        try:
            while True:
                if len(self._scheduler.waiting) < LOOK_AHEAD // 2:
                    ahead = list(itertools.islice(waiting, LOOK_AHEAD))
                    for request in sorted(ahead, key=lambda r: -r.recipe.model_calls):
                        try:
                            mine.add(self.add_request(request))
                        except TeststripError as exc:
                            key = request.image_key(self.fingerprint)
                            yield Failure(request, key, str(exc))
                if self.is_idle:
                    return
                yield from self.step(on_progress)
        finally:
            for ticket in mine:
                self.cancel(ticket)

    def stream(self, request: Request) -> Iterator[Progress | Outcome]:
        """One request: its progress after every model call, at last its outcome."""
        ticket = self.add_request(request)
        try:
            done: list[Outcome] = []
            while not done:
                events: list[Progress] = []
                done = [o for o in self.step(events.append) if o.request == request]
                yield from (event for event in events if event.request == request)
            yield done[0]
        finally:
            self.cancel(ticket)

    # -- inside -----------------------------------------------------------------------------------

    def _board(self, batch: list[Flight]) -> list[tuple[Flight, Exception]]:
        failed: list[tuple[Flight, Exception]] = []
        if not batch:
            return failed
        try:
            self._pipeline.use_adapters(batch[0].adapters)
        except TeststripError as exc:
            return [(flight, exc) for flight in batch]
        for flight in batch:
            if not flight.is_on_board:
                try:
                    flight.board(self._pipeline, self._prompts)
                except GenerationError as exc:
                    failed.append((flight, exc))
        return failed

    def _forward(self, batch: list[Flight]) -> bool:
        """One forward and one noise-scheduler step each; False if memory ran out (rows halved).

        Nobody's noise scheduler has moved when the forward fails, so the step is simply repeated
        with fewer rows.
        """
        inputs = [row for flight in batch for row in flight.model_input()]
        times = [flight.timestep.to(torch.float32) for flight in batch for _ in range(flight.rows)]
        conditions = [row for flight in batch for row in flight.conditions]
        guidances = [f.request.recipe.guidance for f in batch for _ in range(f.rows)]
        if self.config.deterministic:
            padding = self._scheduler.max_rows - len(inputs)
            for column in (inputs, times, conditions, guidances):
                column.extend(column[:1] * padding)
        try:
            output = self._pipeline.denoise(
                torch.cat(inputs), torch.stack(times), conditions, guidances
            )
        except torch.OutOfMemoryError as exc:
            self._halve_rows(batch, exc)
            return False
        first = 0
        for flight in batch:
            flight.advance(output[first : first + flight.rows])
            first += flight.rows
        return True

    def _halve_rows(self, batch: list[Flight], exc: Exception) -> None:
        rows = max(flight.rows for flight in batch)
        if self._scheduler.max_rows <= rows:
            raise GenerationError(
                f"out of memory with a single image in the batch ({batch[0].width} x "
                f"{batch[0].height} px on {self._pipeline.device}); use a smaller size or dtype"
            ) from exc
        self._scheduler.max_rows = max(self._scheduler.max_rows // 2, rows)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.warning("out of memory: going on with at most %d rows", self._scheduler.max_rows)

    def _decode(self, latents: Any) -> Any:
        try:
            return self._pipeline.decode(latents)
        except torch.OutOfMemoryError:
            # What the step loop let go of may be enough; a second refusal is the caller's.
            torch.cuda.empty_cache()
            return self._pipeline.decode(latents)

    def _fail(self, flight: Flight, exc: Exception) -> Failure:
        self.cancel(flight.ticket)
        return Failure(flight.request, flight.image_key, str(exc))

    @torch.inference_mode()
    def _finish(self, flight: Flight) -> Outcome:
        begun = time.perf_counter()
        if not bool(torch.isfinite(flight.latents).all()):
            hint = "" if self.dtype == "fp32" else "; try dtype fp32"
            reason = f"the image became NaN or infinite in {self.dtype}{hint}"
            return Failure(flight.request, flight.image_key, reason)
        try:
            image = self._decode(flight.latents)
        except torch.OutOfMemoryError:
            reason = f"out of memory while decoding {flight.width} x {flight.height} px"
            return Failure(flight.request, flight.image_key, reason)
        calls = flight.index
        facts = self._facts | {"model_calls": calls, "image_key": flight.image_key}
        if flight.adapters:
            facts |= {
                "fingerprint": adapter_files.fingerprint(self.fingerprint, flight.adapters),
                "adapters": [adapter.digest for adapter in flight.adapters],
            }
        data = png.write(image, flight.request, facts)
        seconds = flight.seconds + time.perf_counter() - begun
        return Generation(flight.request, flight.image_key, data, seconds, calls, facts)
