"""All that changes while a run trains: weights, optimizer, moving average, guard, counters.

Taken at a checkpoint and put back, training goes on to the same bits. Random draws are no part of
it: those of micro-batch k come from the seed and k alone.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from teststrip.train import checkpoints, optimizers
from teststrip.train.adapters import Weights
from teststrip.train.config import TrainConfig
from teststrip.train.ema import Ema
from teststrip.train.guard import FIRST_SCALE, Guard


class Progress:
    """Where a run is. `window`: sum and count of losses since the last logged step."""

    def __init__(self, config: TrainConfig, weights: Sequence[Weights]) -> None:
        self.weights = weights
        self.optimizer = optimizers.build(config.optimizer, weights)
        self.ema = Ema(weights, config.ema) if config.ema else None
        self.guard = Guard(scale=FIRST_SCALE if config.precision == "fp16" else 1.0)
        self.step = 0
        self.window = [0.0, 0]
        self._good: checkpoints.State | None = None

    def averaged(self) -> AbstractContextManager[None]:
        """The weights that are measured and saved: the moving average where it is on."""
        return self.ema.in_place() if self.ema else nullcontext()

    def take(self) -> checkpoints.State:
        """Tensors by file and numbers for JSON; the tensors are still those that training uses."""
        tensors = {f"raw_{w.part}": w.named() for w in self.weights}
        moments, numbers = optimizers.state_of(self.optimizer)
        tensors["optimizer"] = moments
        if self.ema:
            own = zip(self.weights, self.ema.flats, strict=True)
            tensors["ema"] = {w.part: flat for w, flat in own}
        return tensors, {
            "step": self.step,
            "optimizer": numbers,
            "guard": self.guard.state(),
            "ema_updates": self.ema.updates if self.ema else 0,
            "window": self.window,
        }

    def put(self, state: checkpoints.State) -> None:
        """Go on from a state."""
        tensors, numbers = state
        for each in self.weights:
            each.load(tensors[f"raw_{each.part}"])
        optimizers.load_state(self.optimizer, tensors["optimizer"], numbers["optimizer"])
        if self.ema:
            flats = [tensors["ema"][w.part] for w in self.weights]
            self.ema.load(flats, numbers["ema_updates"])
        self.guard = Guard(**numbers["guard"])
        self.step = numbers["step"]
        self.window = list(numbers["window"])

    def remember(self) -> None:
        """This is the last good state."""
        tensors, numbers = self.take()
        copies = {
            name: {key: tensor.detach().clone() for key, tensor in own.items()}
            for name, own in tensors.items()
        }
        self._good = copies, {**numbers, "window": list(self.window)}

    def go_back(self) -> None:
        """To the last good state; what the guard has learned is kept."""
        if self._good is not None:
            guard = self.guard
            self.put(self._good)
            self.guard = guard
