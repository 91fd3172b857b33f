"""GPU memory of a worker, for its numbers. Asks torch only where an engine brought it already.

How busy the GPU is says dcgm-exporter better (DCGM_FI_PROF_SM_ACTIVE): the driver's own
"utilisation" is near 100 % as soon as one kernel runs.
"""

import asyncio
import sys
from dataclasses import dataclass

from teststrip.serve.operate.metrics import Metrics


@dataclass(frozen=True)
class GpuMemory:
    """Bytes: kept by this process, and what the GPU has in all."""

    used: int
    total: int


def memory() -> GpuMemory | None:
    """Of the GPU that this process computes on; None without one, or before it was first used."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    _, total = cuda.mem_get_info()
    return GpuMemory(int(cuda.memory_reserved()), int(total))


async def watch(metrics: Metrics, stop: asyncio.Event, every_s: float = 10) -> None:
    """Keep the numbers up to date until `stop`."""
    while not stop.is_set():
        found = memory()
        if found is not None:
            metrics.vram_bytes.set(found.used)
            metrics.vram_total_bytes.set(found.total)
        try:
            await asyncio.wait_for(stop.wait(), every_s)
        except TimeoutError:
            continue
