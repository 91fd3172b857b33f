"""Wall-clock training: learning rate by time left, safe checkpoints, a line of progress."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn


def clock(text: str) -> float:
    """Turn HH:MM (UTC, the next such moment) into a Unix time in seconds."""
    now = datetime.now(UTC)
    hour, minute = (int(v) for v in text.split(":"))
    moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (moment if moment > now else moment + timedelta(days=1)).timestamp()


class Deadline:
    """Learning-rate factor from wall time: short warm-up, flat until `flat`, then down to 2 %."""

    def __init__(self, start: float, end: float, *, flat: float = 0.6, warm_up_s: float = 30):
        self.start, self.end, self.flat, self.warm_up_s = start, end, flat, warm_up_s
        self._begun = time.time()

    @property
    def done(self) -> bool:
        """True once the deadline has passed."""
        return time.time() >= self.end

    def factor(self) -> float:
        """The learning-rate factor now, 0.02..1."""
        now = time.time()
        part = (now - self.start) / max(self.end - self.start, 1.0)
        warm = min(1.0, (now - self._begun + 1) / self.warm_up_s)
        fall = 1.0 if part <= self.flat else (1 - part) / (1 - self.flat)
        return max(0.02, min(1.0, fall)) * warm


class Average:
    """Exponential moving average of a network's weights (kept apart, swapped in for export)."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Fold the current weights in; early on with a shorter memory."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        live = dict(model.state_dict())
        floats = [k for k, v in self.shadow.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.shadow[k] for k in floats], [live[k] for k in floats], 1 - decay)


def save(path: Path, **state: Any) -> None:
    """Write a checkpoint so that a kill in the middle never leaves half a file."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


class Reporter:
    """Prints a mean of the losses every `every_s` seconds and says when to save."""

    def __init__(self, name: str, every_s: float = 20, save_s: float = 120):
        self.name, self.every_s, self.save_s = name, every_s, save_s
        self.sums: dict[str, float] = {}
        self.count, self.begun = 0, time.time()
        self.printed = self.saved = time.time()

    def add(self, step: int, values: dict[str, float], extra: Callable[[], str] = str) -> None:
        """Add one step's numbers and print their mean when it is time."""
        self.count += 1
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        if time.time() - self.printed >= self.every_s:
            means = " ".join(f"{k} {v / self.count:.4f}" for k, v in self.sums.items())
            speed = (time.time() - self.printed) / self.count
            text = f"{datetime.now(UTC):%H:%M:%S} {self.name} step {step} {means}"
            print(f"{text} {speed:.3f} s/step {extra()}", flush=True)
            self.sums, self.count, self.printed = {}, 0, time.time()

    def is_save_due(self) -> bool:
        """True once per `save_s` seconds."""
        due = time.time() - self.saved >= self.save_s
        if due:
            self.saved = time.time()
        return due
