import io
import json
import struct
import subprocess
import sys
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from teststrip import Block, Recipe, Request, a1111, png
from teststrip.errors import ConfigError

FACTS = {"fingerprint": "0123456789abcdef", "image_key": "k" * 24, "model_calls": 25, "rows": None}


@pytest.fixture
def request_() -> Request:
    recipe = Recipe(scheduler="euler_a", negative_prompt="flou, é", width=32)
    return Request(recipe=recipe, block=Block(prompt="猫 on a\nmat 🐈", seed=7))


@pytest.fixture
def picture() -> Any:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def with_chunk(text: str, *, zipped: bool = False) -> bytes:
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt("teststrip", text, zip=zipped)
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_what_goes_in_comes_out(request_: Request, picture: Any) -> None:
    data = png.write(picture, request_, FACTS)
    read = png.read(data)

    assert read.request == request_
    assert (read.width, read.height, read.image_key) == (32, 24, "k" * 24)
    assert read.facts == {name: v for name, v in FACTS.items() if name != "image_key"}
    np.testing.assert_array_equal(png.pixels(data), picture)


def test_other_programs_find_a1111s_text(request_: Request, picture: Any) -> None:
    info = Image.open(io.BytesIO(png.write(picture, request_, FACTS))).info

    assert info["parameters"] == a1111.to_text(request_, 32, 24, "0123456789")
    assert a1111.from_text(info["parameters"]).request == request_
    assert json.loads(info["teststrip"])["recipe"] == request_.recipe.model_dump(mode="json")


def test_array_and_image_give_the_same_bytes_and_durations_change_nothing(
    request_: Request, picture: Any
) -> None:
    first = png.write(picture, request_, FACTS)

    assert png.write(Image.fromarray(picture), request_, FACTS | {"seconds": 1.5}) == first
    assert png.write(picture[::-1][::-1], request_, dict(reversed(FACTS.items()))) == first


def test_another_process_writes_the_same_bytes() -> None:
    code = """
import hashlib, numpy as np
from teststrip import Block, Recipe, Request, png
request = Request(recipe=Recipe(), block=Block(prompt="a", seed=1))
data = png.write(np.zeros((16, 16, 3), np.uint8), request, {"versions": {"b": 1, "a": 2}})
print(hashlib.sha256(data).hexdigest())
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }

    assert len(runs) == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_any_png_has_rgb_pixels(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (5, 4)).save(out, "PNG")

    assert png.pixels(out.getvalue()).shape == (4, 5, 3)
    assert png.pixels(out.getvalue()).dtype == np.uint8


def test_a_picture_of_somebody_else_is_refused_with_a_hint() -> None:
    plain, theirs, info = io.BytesIO(), io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat")
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    Image.new("RGB", (8, 8)).save(theirs, "PNG", pnginfo=info)

    with pytest.raises(ConfigError, match=r"holds no `teststrip` settings$"):
        png.read(plain.getvalue())
    with pytest.raises(ConfigError, match=r"a1111\.from_text"):
        png.read(theirs.getvalue())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "broken"),
        ("[]", "broken"),
        ("{}", "broken"),
        ("[" * 100_000, "broken"),
        ('{"format": 9, "recipe": {}, "prompt": "a", "seed": 1, "image_key": "", "facts": {}}',
         "has format 9"),
        ('{"format": 1, "recipe": {"steps": 0}, "prompt": "", "seed": 1, "image_key": "", '
         '"facts": {}}', r"2 faults(.|\n)*recipe\.steps(.|\n)*block\.prompt"),
    ],
)  # fmt: skip
def test_broken_settings_are_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        png.read(with_chunk(text))


def test_a_text_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    with pytest.raises(ConfigError, match=r"too much text|no `teststrip`"):
        png.read(with_chunk("a" * 50_000_000, zipped=True))
    with pytest.raises(ConfigError, match="longer than"):
        png.read(with_chunk("a" * 2_000_000))


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 2**16, 2**16, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reader in (png.read, png.pixels):
            with pytest.raises(ConfigError, match="65536 x 65536 px; at most"):
                reader(bomb)


def test_a_file_cut_anywhere_is_one_clear_error(request_: Request, picture: Any) -> None:
    data = png.write(picture, request_, FACTS)

    for length in range(0, len(data) - 40, 13):
        with pytest.raises(ConfigError, match="picture: "):
            png.pixels(data[:length])


@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)],
    ids=["grey", "alpha", "float"],
)
def test_other_arrays_are_refused(array: Any, request_: Request) -> None:
    with pytest.raises(ConfigError, match=r"uint8 \[H, W, 3\] is accepted"):
        png.write(array, request_, {})


@pytest.mark.parametrize("facts", [{"x": object()}, {"x": float("nan")}, {"x": "y" * 1_000_001}])
def test_facts_that_could_not_be_read_back_are_refused(
    facts: dict[str, Any], request_: Request, picture: Any
) -> None:
    with pytest.raises(ConfigError, match="facts of a picture"):
        png.write(picture, request_, facts)
