"""Learning rates over time: diffusers' schedules as plain functions of the step.

A function of the step has no state to save; resuming needs nothing.
"""

import math

from teststrip.train.config import Rate

POLYNOMIAL_END = 1e-7  # diffusers' `lr_end`


def factor(rate: Rate, step: int, steps: int, lr: float) -> float:
    """What the learning rate `lr` is multiplied by at `step` (from 0) of `steps`.

    Over the first `warm_up` steps it climbs from 0; then as `rate.name` says.
    """
    if step < rate.warm_up:
        return step / rate.warm_up
    if rate.name == "constant":
        return 1.0
    done = (step - rate.warm_up) / max(1, steps - rate.warm_up)
    if rate.name == "linear":
        return max(0.0, 1.0 - done)
    if rate.name == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))
    if step > steps or lr <= POLYNOMIAL_END:
        return min(1.0, POLYNOMIAL_END / lr)
    return ((lr - POLYNOMIAL_END) * (1 - done) + POLYNOMIAL_END) / lr
