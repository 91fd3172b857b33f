from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from teststrip.score.phash import duplicates, phash


@pytest.fixture
def image(draw: Callable[..., Image.Image]) -> Image.Image:
    return draw(1, 128, 96)


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_it_is_the_sign_of_the_low_frequencies_of_the_dct(image: Image.Image) -> None:
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    low = dctn(grey, type=2)[:8, :8]
    expected = int("".join("1" if v > np.median(low) else "0" for v in low.ravel()), 2)

    assert phash(np.asarray(image)) == expected


def test_scaling_and_brightness_keep_it_and_other_pictures_do_not(
    image: Image.Image, draw: Callable[..., Any]
) -> None:
    first = phash(np.asarray(image))
    scaled = phash(np.asarray(image.resize((256, 192), Image.Resampling.BICUBIC)))
    darker = phash(np.asarray(ImageEnhance.Brightness(image).enhance(0.8)))
    others = [phash(np.asarray(draw(seed, 128, 96))) for seed in range(2, 30)]

    assert distance(first, scaled) <= 4
    assert distance(first, darker) <= 4
    assert min(distance(first, other) for other in others) > 8


def test_duplicates_are_groups_in_order_of_their_first_member() -> None:
    a, b, c = 0, (1 << 64) - 1, 0x00FF00FF00FF00FF

    assert duplicates([a, b, a ^ 1, c, b ^ 0b11]) == [[0, 2], [1, 4]]
    assert duplicates([a, b, c]) == []
    assert duplicates([]) == []


def test_near_pairs_chain_into_one_group() -> None:
    hashes = [0b1111_1111, 0, 0b1111]

    assert duplicates(hashes, max_distance=4) == [[0, 1, 2]]
    assert duplicates(hashes, max_distance=3) == []


def test_the_bound_is_the_number_of_bits() -> None:
    assert duplicates([0, 0b111], max_distance=2) == []
    assert duplicates([0, 0b111], max_distance=3) == [[0, 1]]


def test_groups_equal_the_connected_components_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 2**63, 12)
    hashes = [int(s) ^ int(1 << int(bit)) for s in seeds for bit in rng.integers(0, 60, 6)]
    rng.shuffle(hashes)
    near = np.array([[distance(a, b) <= 4 for b in hashes] for a in hashes])
    reach = np.linalg.matrix_power(near.astype(float), len(hashes)) > 0
    expected = {tuple(np.flatnonzero(row).tolist()) for row in reach if row.sum() > 1}

    assert {tuple(group) for group in duplicates(hashes)} == expected
