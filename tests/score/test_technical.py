from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from teststrip import Generation
from teststrip.score.technical import MEASURES, TechnicalScorer, defects, measure


@pytest.fixture
def picture(draw: Callable[..., Any]) -> Any:
    return np.asarray(draw(2, 96, 80))


def luma_of(picture: Any) -> Any:
    return picture @ np.array([0.299, 0.587, 0.114])


def flat(*rgb: int) -> Any:
    return np.full((40, 50, 3), rgb, np.uint8)


def test_sharpness_is_the_variance_of_the_laplacian(picture: Any) -> None:
    expected = ndimage.laplace(luma_of(picture))[1:-1, 1:-1].var()

    assert measure(picture)["sharpness"] == pytest.approx(expected, rel=1e-4)


def test_noise_is_immerkaers_sum(picture: Any) -> None:
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    answer = np.abs(ndimage.convolve(luma_of(picture), kernel)[1:-1, 1:-1])
    height, width = answer.shape
    expected = np.sqrt(np.pi / 2) * answer.sum() / (6 * height * width)

    assert measure(picture)["noise"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_noise_finds_the_sigma_that_was_put_in(sigma: float) -> None:
    rng = np.random.default_rng(0)
    grey = np.clip(128 + rng.normal(0, sigma, (256, 256, 1)), 0, 255).round().astype(np.uint8)

    assert measure(np.repeat(grey, 3, axis=2))["noise"] == pytest.approx(sigma, rel=0.03)


def test_colourfulness_is_zero_for_grey_and_hasler_and_suesstrunks_for_two_colours() -> None:
    halves = flat(255, 0, 0)
    halves[:, 25:] = (0, 0, 255)

    assert measure(flat(90, 90, 90))["colourfulness"] == 0
    # rg is 255 and 0, yb is 127.5 and -255: spread (127.5, 191.25), means (127.5, -63.75)
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, -63.75)
    assert measure(halves)["colourfulness"] == pytest.approx(expected, rel=1e-6)


def test_entropy_counts_bits_of_luma() -> None:
    four = np.repeat(np.array([0, 80, 160, 240], np.uint8), 64).reshape(16, 16)

    assert measure(np.repeat(four[..., None], 3, axis=2))["entropy"] == pytest.approx(2.0)
    assert measure(flat(7, 7, 7))["entropy"] == 0


def test_contrast_of_half_black_half_white_is_a_half() -> None:
    halves = flat(0, 0, 0)
    halves[:, 25:] = 255

    found = measure(halves)

    assert found["contrast"] == pytest.approx(0.5)
    assert (found["shadows"], found["highlights"]) == (0.5, 0.5)


def test_saturation_is_that_of_hsv() -> None:
    assert measure(flat(200, 100, 100))["saturation"] == pytest.approx(0.5)
    assert measure(flat(0, 0, 0))["saturation"] == 0


@pytest.mark.parametrize("tone", [0, 128, 255])
def test_pictures_of_one_tone_are_blank_with_defects(tone: int) -> None:
    found = measure(flat(tone, tone, tone))

    assert found["blank"] == 1
    assert {"blank", "contrast", "entropy", "sharpness"} <= set(defects(found))


def test_blur_lowers_sharpness_and_noise_raises_it_with_noise(picture: Any) -> None:
    image = Image.fromarray(picture)
    blurred = measure(np.asarray(image.filter(ImageFilter.GaussianBlur(3))))
    rng = np.random.default_rng(1)
    noisy = np.clip(picture + rng.normal(0, 40, picture.shape), 0, 255).astype(np.uint8)

    assert blurred["sharpness"] < measure(picture)["sharpness"] / 10
    assert defects(blurred) == ["sharpness"]
    assert defects(measure(noisy)) == ["noise"]
    assert defects(measure(picture)) == []


def test_mirrored_and_turned_pictures_measure_the_same(picture: Any) -> None:
    first = measure(picture)

    for other in (picture[:, ::-1], picture[::-1], np.rot90(picture)):
        assert measure(other) == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (3, 3)])
def test_the_smallest_pictures_do_not_crash(shape: tuple[int, int]) -> None:
    found = measure(np.zeros((*shape, 3), np.uint8))

    assert np.isnan(found["noise"]) == (min(shape) < 3)
    assert found["blank"] == 1


def test_defects_counts_the_limits_that_are_passed(make: Callable[..., Generation]) -> None:
    scorer = TechnicalScorer()

    clean, black = scorer.score([make(), make(flat(0, 0, 0))])

    assert clean["technical.defects@1"] == 0
    assert black["technical.defects@1"] == 5
    assert set(clean) == {f"technical.{name}@1" for name in [*MEASURES, "defects"]}
    assert scorer.columns["technical.defects@1"] is False
