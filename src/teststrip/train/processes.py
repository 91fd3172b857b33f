"""The processes of one run: one, or as many as `accelerate launch` started.

Each computes gradients of its own batches; sums of a flat gradient make them one run. Every process
takes the same decisions, since they decide on the same reduced numbers; only the first one writes.
"""

import os
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from teststrip.engine import device as devices

# The first process makes validation images while the others wait.
MOST_WAIT = timedelta(hours=6)


class Processes:
    """Who we are among the processes of a run. One alone needs no accelerate and no group."""

    def __init__(self, device: str = "auto") -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self._state: Any = None
        if self.count == 1:
            self.rank = 0
            self.device = devices.find(device)
            return
        from accelerate import PartialState

        on_cpu = device == "cpu" or not torch.cuda.is_available()
        self._state = PartialState(cpu=on_cpu, timeout=MOST_WAIT)
        self.count = int(self._state.num_processes)
        self.rank = int(self._state.process_index)
        self.device = torch.device(self._state.device)

    @property
    def writes(self) -> bool:
        """Is this the one process that writes?"""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def mean_(self, tensor: Tensor) -> None:
        """Replace `tensor` by its mean over processes, the same bits in all of them."""
        if self._state is not None:
            torch.distributed.all_reduce(tensor)
            tensor.div_(self.count)

    def told(self, value: Any) -> Any:
        """What the first process says."""
        if self._state is None:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]
