"""Pages of pictures: out as they went in, nothing in them runs, groups fit a tag and an upload."""

import re

import numpy as np
import pytest

from teststrip import png
from teststrip.errors import StorageError
from teststrip.recipe import Block, Recipe, Request
from teststrip.track import packs


def picture(prompt, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return png.write(pixels, Request(recipe=Recipe(), block=Block(prompt=prompt, seed=seed)), {})


def test_pictures_come_out_of_a_page_as_they_went_in():
    pictures = {
        "000-a.png": picture("a red apple", 1),
        "001-ü & \"q\" 'x'.png": picture("ein grüner Apfel", 2),
        "002-<b>.png": b"\x00\xff no picture at all",
        "003-empty.png": b"",
        "004-fake.png": b'<figure id="000-a.png"><img alt="" src="data:x;base64,AAAA">',
    }

    assert packs.unpack(packs.pack(pictures, "a title")) == pictures


def test_a_page_says_each_prompt_and_runs_nothing():
    prompt = '"><script>alert(1)</script> <img src=x onerror=alert(2)>'

    page = packs.pack({"a.png": picture(prompt, 7), "b.png": b"x"}, f"r: {prompt}").decode()

    assert "<script" not in page
    assert page.count("<img ") == 2
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert (
        "&lt;script&gt;alert(1)&lt;/script&gt; &lt;img src=x onerror=alert(2)&gt;, seed 7" in page
    )
    assert re.search(r"<figcaption>b\.png</figcaption>", page)
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.parametrize(
    "page", [b"", b"<html>", b"\xff\xfe", b'<figure id="a"><img alt="" src="data:x;base64,AAA">']
)
def test_what_is_no_page_of_ours_is_refused(page):
    with pytest.raises(StorageError, match="a page of pictures"):
        packs.unpack(page)


def test_small_pictures_go_together_and_large_ones_alone():
    small = {f"{i}.png": b"x" for i in range(3)}
    large = {"large.png": bytes(packs.LARGE)}

    assert packs.sorted_out(small | large) == ([list(small)], [["large.png"]])
    assert packs.sorted_out({"0.png": b"x"} | large) == ([], [["0.png", "large.png"]])
    assert packs.sorted_out({}) == ([], [])


def test_a_page_fits_one_upload_and_its_names_one_tag():
    heavy = {f"{i:03d}.png": bytes(packs.LARGE - 1) for i in range(100)}
    named = {f"{i:03d}-{'n' * 200}.png": b"x" for i in range(100)}

    for pictures in (heavy, named):
        groups, alone = packs.sorted_out(pictures)
        assert [name for group in groups for name in group] == list(pictures)
        assert not alone
        for group in groups:
            assert sum(len(pictures[name]) for name in group) <= packs.MOST_BYTES
            assert sum(len(name) + 4 for name in group) <= packs.MOST_LETTERS
    _, alone = packs.sorted_out({name: bytes(packs.LARGE) for name in named})
    assert len(alone) > 1


def test_the_same_pictures_have_the_same_page_name():
    assert packs.digest(["a", "b"]) == packs.digest(["b", "a"])
    assert packs.digest(["a", "b"]) != packs.digest(["a", "c"])
