"""Sizes, crops and flips of training pictures."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from teststrip.train.data.picture import Picture
from teststrip.train.data.shapes import buckets, cut, nearest_bucket, scale, view


def picture(width: int, height: int, name: str = "p") -> Picture:
    return Picture(name, "c", hashlib.sha256(name.encode()).hexdigest(), width, height, read=bytes)


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green grows downwards, both from 0 to 255."""
    red = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    green = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([red, green, red * 0], -1).astype(np.uint8))


@settings(max_examples=30)
@given(
    st.integers(2, 20).map(lambda n: 64 * n),
    st.integers(2, 20).map(lambda n: 64 * n),
)
def test_buckets_keep_the_area_and_the_multiple(width, height):
    found = buckets((width, height), 64)

    assert (width, height) in found
    for w, h in set(found) - {(width, height)}:
        assert w % 64 == h % 64 == 0
        assert 0.5 <= w / h <= 2
        assert w * h <= width * height < w * (h + 64)


def test_the_buckets_of_512_px_are_those_of_other_trainers():
    # sd-scripts' make_bucket_resolutions((512, 512), divisible=64), those from 1:2 to 2:1
    wanted = {(384, 640), (448, 576), (512, 512), (576, 448), (640, 384)}

    assert wanted <= set(buckets((512, 512), 64))


def test_the_bucket_of_the_nearest_shape_is_taken():
    sizes = buckets((512, 512), 64)

    assert nearest_bucket(picture(1000, 1000), sizes) == (512, 512)
    assert nearest_bucket(picture(1000, 600), sizes) == (640, 384)
    assert nearest_bucket(picture(600, 1000), sizes) == (384, 640)
    wide = nearest_bucket(picture(5000, 100), sizes)
    assert wide[0] / wide[1] == max(w / h for w, h in sizes)


@settings(max_examples=30)
@given(
    st.integers(16, 300),
    st.integers(16, 300),
    st.sampled_from([(32, 32), (64, 32), (24, 80)]),
    st.integers(0, 15),
)
def test_a_view_covers_its_size_and_never_squeezes(width, height, size, crop):
    seen = view(picture(width, height), size, crop)

    for axis in (0, 1):
        assert 0 <= seen.corner[axis] <= seen.scaled[axis] - seen.size[axis]
    # one side fits exactly, the other is scaled alike, to the pixel
    scaling = max(size[0] / width, size[1] / height)
    assert abs(seen.scaled[0] - width * scaling) <= 1
    assert abs(seen.scaled[1] - height * scaling) <= 1
    assert seen.scaled[0] == size[0] or seen.scaled[1] == size[1]


def test_crop_0_is_the_centre_and_others_lie_about_and_stay():
    wide = picture(200, 50)

    places = [view(wide, (32, 32), crop).corner for crop in range(16)]

    assert places[0] == (48, 0)
    assert len(set(places)) > 8
    assert places == [view(wide, (32, 32), crop).corner for crop in range(16)]
    assert places[1:] != [view(picture(200, 50, "q"), (32, 32), c).corner for c in range(1, 16)]


def test_pixels_are_where_they_were_in_the_picture():
    wide = picture(128, 64)
    seen = view(wide, (64, 64))

    pixels = cut(scale(gradient(128, 64), seen), seen)

    assert pixels.shape == (3, 64, 64)
    assert pixels[2].max() == -1
    # the middle half of 0..255 in red, all of it in green
    assert pixels[0, 0, 0].item() == pytest.approx(-0.5, abs=0.02)
    assert pixels[0, 0, -1].item() == pytest.approx(0.5, abs=0.02)
    assert (pixels[1, 0, 0].item(), pixels[1, -1, 0].item()) == (-1, 1)


def test_a_flip_mirrors_left_and_right_of_the_same_crop():
    wide = picture(128, 64)
    straight, mirrored = (view(wide, (64, 64), 3, flip=flip) for flip in (False, True))

    image = scale(gradient(128, 64), straight)

    assert straight.corner == mirrored.corner
    assert cut(image, mirrored).equal(cut(image, straight).flip(2))
