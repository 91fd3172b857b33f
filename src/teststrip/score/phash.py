"""Near-duplicates: a 64-bit perceptual hash per picture and the groups that nearly share one.

A set's property, so not a scorer: a scorer's numbers never depend on the batch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, KEPT = 32, 8


def phash(picture: NDArray[np.uint8]) -> int:
    """64-bit pHash of a uint8 [H, W, 3] picture.

    Grey, 32 x 32 px, DCT, the 8 x 8 lowest frequencies against their median (Zauner, Implementation
    and benchmarking of perceptual image hash functions, 2010). Survives scaling and compression.
    """
    grey = Image.fromarray(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    low = (_DCT @ np.asarray(grey, np.float64) @ _DCT.T).round(6)
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def duplicates(hashes: Sequence[int], max_distance: int = 4) -> list[list[int]]:
    """Groups of indices whose hashes differ in at most `max_distance` of 64 bits, chained.

    Only groups of two and more, each sorted, in order of their first index. Time is quadratic:
    10,000 hashes take about a second.
    """
    codes = np.array(hashes, dtype=np.uint64)
    group = np.arange(len(codes))
    for i, code in enumerate(codes):
        near = np.bitwise_count(codes[i:] ^ code) <= max_distance
        joined = np.unique(group[i:][near])
        if len(joined) > 1:
            group[np.isin(group, joined)] = joined[0]
    found: dict[int, list[int]] = {}
    for index, name in enumerate(group.tolist()):
        found.setdefault(name, []).append(index)
    return [members for members in found.values() if len(members) > 1]


def _dct_rows() -> NDArray[np.float64]:
    """The first `KEPT` rows of the DCT-II of length `SIDE`."""
    k, n = np.arange(KEPT)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))


_DCT = _dct_rows()
