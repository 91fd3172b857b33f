"""The guard in front of every optimizer step: numbers that are none never reach the weights."""

import math
from dataclasses import dataclass
from typing import Any, Literal

MOST_SKIPPED = 3
DIVERGED = 20.0
FIRST_SCALE, LEAST_SCALE, GROWS_AFTER = 2.0**16, 1.0, 2000
Verdict = Literal["go", "skip", "roll back", "stop"]


@dataclass
class Guard:
    """Decides before each step: go, skip it, go back to the last good state, or stop the run.

    Bad is a loss or gradient that is not finite, and a loss `DIVERGED` times that of a model that
    answers nothing (whose loss is 1) or of the first step, if that was larger. Up to
    `MOST_SKIPPED` bad steps in a row are skipped; then the run goes back once, with half the
    learning rate; then it stops. `scale`: what an fp16 loss is multiplied by; 1 elsewhere.
    """

    scale: float = 1.0
    rate: float = 1.0
    limit: float | None = None
    in_a_row: int = 0
    skipped: int = 0
    rolled_back: bool = False
    good_in_a_row: int = 0

    def is_sound(self, loss: float) -> bool:
        """Finite, and not far above that of a model that answers nothing."""
        return math.isfinite(loss) and loss <= (self.limit or math.inf)

    def look(self, loss: float, norm: float) -> Verdict:
        """The verdict on one step: its mean loss and the norm of its (unscaled) gradient."""
        if self.limit is None and math.isfinite(loss):
            self.limit = DIVERGED * max(1.0, loss)
        sound = self.is_sound(loss)
        if sound and math.isfinite(norm):
            self.in_a_row = 0
            self._grow()
            return "go"
        self.skipped += 1
        self.good_in_a_row = 0
        if sound and self.scale > LEAST_SCALE:
            # fp16 found its range: not a fault of the run.
            self.scale /= 2
            return "skip"
        self.in_a_row += 1
        if self.in_a_row <= MOST_SKIPPED:
            return "skip"
        self.in_a_row = 0
        if self.rolled_back:
            return "stop"
        self.rolled_back = True
        self.rate /= 2
        return "roll back"

    def _grow(self) -> None:
        if self.scale > LEAST_SCALE:
            self.good_in_a_row += 1
            if self.good_in_a_row >= GROWS_AFTER:
                self.scale, self.good_in_a_row = self.scale * 2, 0

    def state(self) -> dict[str, Any]:
        """What resuming needs."""
        return dict(vars(self))


def why_it_stopped(step: int, lr: float, loss: float, norm: float) -> str:
    """The verdict in words: where, what was seen, what to try."""
    return (
        f"step {step}: the loss or gradient is no usable number (loss {loss:.4g}, gradient norm "
        f"{norm:.4g}) {MOST_SKIPPED + 1} times in a row, also after going back and halving the "
        f"learning rate to {lr:.3g}; try optimizer.lr {lr / 10:.1g} or lower, rate.warm_up, or "
        "precision bf16 or fp32 in place of fp16. Checkpoints before this step are sound"
    )


def why_it_broke(step: int, lr: float, loss: float) -> str:
    """The verdict in words where the held-out loss tells it first."""
    return (
        f"step {step}: the held-out loss is no usable number ({loss:.4g}), so these weights are of "
        f"no use (learning rate {lr:.3g}); try optimizer.lr {lr / 10:.1g} or lower, or "
        "rate.warm_up. Checkpoints before this step are sound"
    )
