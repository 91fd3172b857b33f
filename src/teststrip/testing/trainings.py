"""Training runs whose truth is known: what each checkpoint is worth, and numbers drawn from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from teststrip.train.select.measured import Measured

SCORE = "likeness@1"
STEPS = tuple(range(100, 1001, 100))


def world(
    seed: int,
    *,
    worth: Sequence[float] = (0.0,) * len(STEPS),
    pictures: int = 12,
    prompts: int = 12,
    seeds: int = 2,
    interplay: float = 0.25,
    residual: float = 0.5,
    drift: float = 0.0,
    shared: float = 0.0,
    heavy: bool = False,
) -> Measured:
    """`worth`: true gain of each checkpoint over the base model, in SDs of single images.

    Loss falls and the score rises by it. Every picture (prompt) has a level of its own, which all
    steps share, an interplay with each step, a drift over the steps, and noise; `shared`: an
    effect of each seed at each step that all prompts share. `heavy`: all of it
    t-distributed with 3 degrees of freedom, scaled to the same spread.
    """
    rng = np.random.default_rng([7, seed])

    def draw(*shape: int) -> NDArray[np.float64]:
        out = rng.standard_t(3, shape) / 3**0.5 if heavy else rng.standard_normal(shape)
        return np.asarray(out, dtype=np.float64)

    def wander(units: int) -> NDArray[np.float64]:
        """[steps, units]: 0 at the base model, `drift` wide at the end, neighbours alike."""
        if not drift:
            return np.zeros((1, units))
        walk = np.cumsum(draw(len(STEPS), units), axis=0) / len(STEPS) ** 0.5
        return drift * np.concatenate([np.zeros((1, units)), walk])

    steps, gain = (0, *STEPS), np.array([0.0, *worth])
    loss = draw(1, pictures) - gain[:, None] + wander(pictures)
    loss = loss + interplay * draw(len(steps), pictures) + residual * draw(len(steps), pictures)
    held_out = pd.DataFrame(
        [
            {"step": step, "picture": f"{p:064x}", "loss": 0.12 + 0.01 * loss[i, p]}
            for i, step in enumerate(steps)
            for p in range(pictures)
        ]
    )
    value = draw(1, prompts, 1) + 0.6 * draw(1, prompts, seeds) + gain[:, None, None]
    value = value + wander(prompts)[:, :, None]
    value = value + interplay * draw(len(steps), prompts, 1)
    value = value + residual * draw(len(steps), prompts, seeds)
    if shared:
        value = value + shared * draw(len(steps), 1, seeds)
    samples = pd.DataFrame(
        [
            {
                "step": step,
                "prompt_id": f"p{p}",
                "prompt": f"prompt {p}",
                "seed": s,
                SCORE: 0.6 + 0.05 * value[i, p, s],
            }
            for i, step in enumerate(steps)
            for p in range(prompts)
            for s in range(seeds)
        ]
    )
    return run_of(held_out, samples, {SCORE: True})


def run_of(
    held_out: pd.DataFrame | None, samples: pd.DataFrame | None, scores: dict[str, bool]
) -> Measured:
    """A run in memory."""
    folder = Path("runs/ink")
    return Measured(
        name="ink",
        folder=folder,
        record={},
        weights={s: folder / f"checkpoints/{s:06}/pytorch_lora_weights.safetensors" for s in STEPS},
        meta={s: {} for s in STEPS},
        held_out=held_out,
        samples=samples,
        scores=scores,
    )


def peak(best: int, height: float, width: float = 400.0) -> list[float]:
    """Worth of each checkpoint: a hill whose top is `height` at step `best`."""
    return [height * (1 - ((step - best) / width) ** 2) for step in STEPS]
