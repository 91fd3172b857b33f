"""A stepper without a model: for tests, load measurements and chaos of the service.

    TESTSTRIP_SERVICE_ENGINE=teststrip.testing.instant:InstantStepper

Some words in a prompt do what a real engine does on a bad day:

    POISON   ends the process by SIGKILL when it boards
    FAULT    becomes a Failure
    MEMORY   is out of memory when it boards, once in this process
"""

import hashlib
import io
import itertools
import os
import signal
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teststrip import png
from teststrip.errors import ConfigError, GenerationError
from teststrip.protocols import OnProgress
from teststrip.recipe import Dtype, Recipe, Request
from teststrip.records import Failure, Generation, Outcome, Progress

SIDE_PX = 64
_CELLS = 8


@dataclass(eq=False)
class _Flight:
    ticket: int
    request: Request
    done: int = 0
    seconds: float = 0.0

    @property
    def progress(self) -> Progress:
        return Progress(self.request, self.done, self.request.recipe.model_calls)


class InstantStepper:
    """A `serve.worker.stepper.Stepper` whose picture is a pure function of its request.

    One `step` is one model call of at most `slots` pictures, and sleeps `step_s`; opening sleeps
    `open_s`. Pictures are 64 x 64 px where the recipe names no size. Not thread-safe, as an engine.
    """

    def __init__(
        self,
        model: str = "builtin",
        *,
        step_s: float = 0.0,
        slots: int = 16,
        open_s: float = 0.0,
        steps: int = 4,
        revision: str | None = None,
        dtype: Dtype = "fp32",
    ) -> None:
        if open_s:
            time.sleep(open_s)
        self.default_recipe = Recipe(model=model, revision=revision, steps=steps)
        self.fingerprint = f"instant-{hashlib.sha256(model.encode()).hexdigest()[:12]}"
        self.dtype = dtype
        self.slots = slots
        self._step_s = step_s
        self._tickets = itertools.count(1)
        self._flights: dict[int, _Flight] = {}
        self._waiting: deque[_Flight] = deque()
        self._board: list[_Flight] = []
        self._refused: set[str] = set()
        self._ended: list[Outcome] = []

    def add_request(self, request: Request) -> int:
        """Queue one image. Raises ConfigError for another model's recipe."""
        if request.recipe.model != self.default_recipe.model:
            raise ConfigError(
                f"this stepper has model {self.default_recipe.model!r} open, the recipe asks for "
                f"{request.recipe.model!r}"
            )
        flight = _Flight(next(self._tickets), request)
        self._flights[flight.ticket] = flight
        self._waiting.append(flight)
        return flight.ticket

    def step(self, on_progress: OnProgress | None = None) -> list[Outcome]:
        """One model call for everybody on board. Raises GenerationError (MEMORY)."""
        begun = time.perf_counter()
        self._let_board()
        if self._board and self._step_s:
            time.sleep(self._step_s)
        for flight in list(self._board):
            flight.done += 1
            if on_progress is not None:
                on_progress(flight.progress)
            if flight.done >= flight.request.recipe.model_calls:
                self._board.remove(flight)
                del self._flights[flight.ticket]
                flight.seconds += time.perf_counter() - begun
                self._ended.append(self._finish(flight))
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, ticket: int) -> bool:
        """Drop a request; False if it is not under way."""
        flight = self._flights.pop(ticket, None)
        if flight is None:
            return False
        if flight in self._board:
            self._board.remove(flight)
        else:
            self._waiting.remove(flight)
        return True

    def progress(self, ticket: int) -> Progress | None:
        """How far a request is, or None if it is not under way."""
        flight = self._flights.get(ticket)
        return flight.progress if flight else None

    def preview(self, ticket: int, longest: int = 256) -> bytes | None:
        """The picture so far, as WebP: greyer the less is done. None before the first step."""
        flight = self._flights.get(ticket)
        if flight is None or flight.done == 0:
            return None
        share = flight.done / flight.request.recipe.model_calls
        picture = Image.fromarray(
            (128 + (self.pixels(flight.request).astype(np.float32) - 128) * share).astype(np.uint8)
        )
        picture.thumbnail((longest, longest))
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=70)
        return out.getvalue()

    def size(self, recipe: Recipe) -> tuple[int, int]:
        """(width, height) in pixels."""
        return recipe.width or SIDE_PX, recipe.height or SIDE_PX

    def fingerprint_of(self, recipe: Recipe) -> str:
        """The model's name, hashed; adapters change it by their path."""
        paths = "".join(lora.path for lora in recipe.loras)
        return self.fingerprint + (
            f"+{hashlib.sha256(paths.encode()).hexdigest()[:12]}" if paths else ""
        )

    @property
    def is_idle(self) -> bool:
        """True when nothing waits or flies."""
        return not self._flights and not self._ended

    def close(self) -> None:
        """Forget all; twice is harmless."""
        self._flights.clear()
        self._waiting.clear()
        self._board.clear()

    def image_key(self, request: Request) -> str:
        """The picture's name, as in its facts."""
        return request.image_key(self.fingerprint_of(request.recipe))

    def pixels(self, request: Request) -> NDArray[np.uint8]:
        """What the picture of a request shows: uint8 [H, W, 3]."""
        wide, high = self.size(request.recipe)
        digest = hashlib.shake_256(self.image_key(request).encode()).digest(_CELLS * _CELLS * 3)
        cells = np.frombuffer(digest, np.uint8).reshape(_CELLS, _CELLS, 3)
        rows = np.arange(high) * _CELLS // high
        return cells[rows][:, np.arange(wide) * _CELLS // wide]

    def _let_board(self) -> None:
        while self._waiting and len(self._board) < self.slots:
            flight = self._waiting[0]
            prompt = flight.request.block.prompt
            if "POISON" in prompt:
                os.kill(os.getpid(), signal.SIGKILL)
            key = self.image_key(flight.request)
            if "MEMORY" in prompt and key not in self._refused:
                self._refused.add(key)
                raise GenerationError(
                    "out of memory with a single image in the batch; use a smaller size or dtype"
                ) from MemoryError()
            self._board.append(self._waiting.popleft())

    def _finish(self, flight: _Flight) -> Outcome:
        request = flight.request
        key = self.image_key(request)
        if "FAULT" in request.block.prompt:
            return Failure(request, key, "the image became NaN or infinite in fp32")
        facts = {
            "fingerprint": self.fingerprint_of(request.recipe),
            "dtype": self.dtype,
            "model_calls": flight.done,
            "image_key": key,
        }
        data = png.write(np.ascontiguousarray(self.pixels(request)), request, facts)
        return Generation(request, key, data, flight.seconds, flight.done, facts)
