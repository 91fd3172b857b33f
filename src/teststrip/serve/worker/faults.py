"""Why a job stops early, and whose fault it is: that decides whether it is tried again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from teststrip.errors import ConfigError, GenerationError, ModelError, StorageError, TeststripError

# The reason of a job in the queue again begins so where the job itself is above suspicion.
GIVEN_BACK = "given back: "
T = TypeVar("T")


class Dropped(Exception):  # noqa: N818 - no error: it was asked for
    """The picture was taken off the board before it was finished."""


class EngineFault(TeststripError, RuntimeError):  # noqa: N818
    """The engine failed while this picture was on board; perhaps because of a neighbour."""


class EngineEnded(EngineFault):
    """There is no engine any more in this worker; another one may make the picture."""


class WishFault(TeststripError, ValueError):  # noqa: N818
    """This picture cannot be made, whoever tries."""


@dataclass(frozen=True)
class Stop:
    """Why a job ends without all its pictures.

    `cancelled` was asked for; `lost`: another worker has the claim; `wish`: it cannot be made;
    `engine`, `away`: it may work later, `away` where a server was missing and not the engine;
    `drained`: this worker goes.
    """

    kind: Literal["cancelled", "lost", "wish", "engine", "away", "drained"]
    reason: str = ""


def is_out_of_memory(exc: BaseException) -> bool:
    """Did memory run out, as far as the exception or what caused it tells?"""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError":
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def of_engine(exc: Exception) -> TeststripError:
    """WishFault where the wish cannot be fulfilled, EngineFault where it may be later."""
    is_wish = isinstance(exc, ConfigError | ModelError | GenerationError)
    text = str(exc) if isinstance(exc, TeststripError) else f"{type(exc).__name__}: {exc}"
    if is_wish and not is_out_of_memory(exc):
        return WishFault(text)
    return EngineFault(text)


def of_reason(reason: str) -> TeststripError:
    """The same for a Failure, of which only the words are known."""
    return EngineFault(reason) if reason.startswith("out of memory") else WishFault(reason)


def stop_of(exc: Exception) -> Stop:
    """What an image's fault means for its job."""
    if isinstance(exc, WishFault):
        return Stop("wish", str(exc))
    if isinstance(exc, StorageError):
        return Stop("away", str(exc))
    if isinstance(exc, EngineEnded):
        return Stop("drained")
    text = str(exc) if isinstance(exc, TeststripError) else f"{type(exc).__name__}: {exc}"
    return Stop("engine", text)


async def patiently(
    call: Callable[[], Awaitable[T]], bound_s: float, goes_on: Callable[[], bool] = lambda: True
) -> T:
    """Repeat `call` with growing pauses while it raises StorageError, for at most `bound_s`.

    Raises the last StorageError after that, or when `goes_on` says no.
    """
    end, pause = time.monotonic() + bound_s, 0.1
    while True:
        try:
            return await call()
        except StorageError:
            if time.monotonic() + pause >= end or not goes_on():
                raise
        await asyncio.sleep(pause * random.uniform(0.7, 1.3))
        pause = min(pause * 2, 5)
