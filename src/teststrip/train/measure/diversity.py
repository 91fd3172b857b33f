"""How much the images of one prompt differ: a model that fell in love with one picture shows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def diversity(vectors: NDArray[np.float64], prompts: Sequence[str]) -> list[float]:
    """Unit vectors [N, D] of images -> for each the mean of 1 - cosine to the other images of its
    prompt, 0 (all the same) to 2. NaN where a prompt has one image only."""
    out = [float("nan")] * len(prompts)
    for prompt in dict.fromkeys(prompts):
        rows = [k for k, name in enumerate(prompts) if name == prompt]
        if len(rows) > 1:
            units = vectors[rows]
            cosines = units @ units.T
            others = (cosines.sum(axis=1) - np.diag(cosines)) / (len(rows) - 1)
            for k, value in zip(rows, 1 - others, strict=True):
                out[k] = float(value)
    return out
