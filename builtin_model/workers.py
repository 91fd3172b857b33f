"""Two trainers on one set of weights in shared memory, each on one core, without any lock.

After Hogwild (Recht et al. 2011): each process reads the shared weights, computes a gradient on its
own batch and applies its own optimizer's step. No step waits for another process, so a core that is
taken away for a while slows only its own trainer.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import multiprocessing, nn

ALIVE_S = 5.0
Body = Callable[..., None]


class Beat:
    """Worker 0's time stamp; the others rest while it is old (it may have been paused)."""

    def __init__(self, rank: int, stamp: torch.Tensor):
        self.rank, self.stamp, self.parent = rank, stamp, os.getppid()

    def tick(self) -> bool:
        """Worker 0: stamp. Others: rest while the stamp is old; False once it says stop."""
        if self.rank == 0:
            self.stamp.fill_(time.time())
            return True
        while 0 < float(self.stamp) < time.time() - ALIVE_S and os.getppid() == self.parent:
            time.sleep(0.5)
        return float(self.stamp) >= 0 and os.getppid() == self.parent


def _start(rank: int, body: Body, model: nn.Module, stamp: torch.Tensor, rest: Any) -> None:
    torch.set_num_threads(1)
    body(Beat(rank, stamp), model, *rest)


def run_workers(body: Body, model: nn.Module, *rest: Any) -> None:
    """Run `body(beat, model, *rest)` here and in one more process per further torch thread."""
    count = torch.get_num_threads()
    model.share_memory()
    stamp = torch.tensor(time.time(), dtype=torch.float64).share_memory_()
    context = multiprocessing.get_context("spawn")
    arguments = [(rank, body, model, stamp, rest) for rank in range(1, count)]
    others = [context.Process(target=_start, args=a, daemon=True) for a in arguments]
    for other in others:
        other.start()
    try:
        _start(0, body, model, stamp, rest)
    finally:
        stamp.fill_(-1)
        for other in others:
            other.join(timeout=60)
        torch.set_num_threads(count)
