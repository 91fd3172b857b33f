"""Stage prepare: squares that anything can read, the same bytes always, or every fault by name."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from teststrip.errors import ConfigError
from teststrip.project.pictures import png_bytes, safe_names, square
from teststrip.project.project import Project
from teststrip.wire.stages import Here, Made
from teststrip.wire.stages.prepare import run

PROMPT = {"instance_prompt": "a zwx alien"}


def project(root: Path, *, kind: str = "dreambooth", size: Any = 32, **train: Any) -> Project:
    """A project without pictures; they go to data/images."""
    (root / "data/images").mkdir(parents=True)
    given_train = (PROMPT if kind == "dreambooth" else {}) | train
    params = {
        "kind": kind,
        "prepare": {"size": size},
        "train": given_train,
        "infer": {"prompt": "a zwx alien"},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return Project.open(root)


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards: turned or mirrored ones are told apart."""
    picture = Image.new("RGB", (width, height))
    picture.putdata(
        [(255 * x // width, 255 * y // height, 40) for y in range(height) for x in range(width)]
    )
    return picture


def prepared(at: Project, name: str) -> Image.Image:
    picture = Image.open(at.root / "data/prepared" / name)
    picture.load()
    return picture


def test_pictures_become_squares_and_captions_come_along(tmp_path: Path) -> None:
    at = project(tmp_path)
    images = tmp_path / "data/images"
    gradient(80, 40).save(images / "Küche 1.PNG", pnginfo=None)
    (images / "deep").mkdir()
    gradient(40, 64).convert("L").save(images / "deep/b.jpg")
    gradient(64, 64).convert("RGBA").save(images / "c.webp")
    (images / "c.txt").write_text(" an alien on a chair \n")
    (images / "metadata.jsonl").write_text('{"file_name": "deep/b.jpg", "text": "grey é"}\n')
    (images / "README.md").write_text("from my phone")
    (images / ".DS_Store").write_bytes(b"\x00")
    told = []
    made = run(at, Here(progress=lambda what, done, total: told.append((what, done, total))))
    assert made == Made(resolved={"prepare.size": 32}, said="3 pictures, 32 x 32 px")
    assert told[-1] == ("pictures", 3, 3)
    names = ["K-che-1.png", "c.png", "deep-b.png"]
    found = sorted(path.name for path in (tmp_path / "data/prepared").iterdir())
    assert found == sorted([*names, "metadata.jsonl"])
    for name in names:
        picture = prepared(at, name)
        assert (picture.mode, picture.size, picture.format) == ("RGB", (32, 32), "PNG")
        assert picture.info == {}, "no metadata"
    lines = (tmp_path / "data/prepared/metadata.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file_name": "c.png", "text": "an alien on a chair"},
        {"file_name": "deep-b.png", "text": "grey é"},
    ]
    metrics = json.loads((tmp_path / "metrics/prepare.json").read_text())
    assert metrics == {"pictures": 3, "size": 32, "captions": 2, "enlarged": 0, "cropped": 2}


def test_the_centre_is_kept_and_nothing_is_squashed(tmp_path: Path) -> None:
    left, middle, right = (Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue"))
    whole = Image.new("RGB", (120, 40))
    for number, part in enumerate((left, middle, right)):
        whole.paste(part, (40 * number, 0))
    assert (np.asarray(square(whole, 20)) == (0, 255, 0)).all()


def test_pictures_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    at = project(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    upright = gradient(64, 64)
    upright.rotate(90, expand=True).save(tmp_path / "data/images/a.jpg", exif=exif, quality=95)
    upright.save(tmp_path / "data/images/b.jpg", quality=95)
    run(at, Here())
    turned, straight = (np.asarray(prepared(at, f"{name}.png"), np.int16) for name in "ab")
    assert np.abs(turned - straight).max() <= 12, "the same picture but for JPEG's own noise"


def test_the_same_pictures_are_the_same_bytes_anywhere(tmp_path: Path) -> None:
    made = []
    for place in ("here", "some/where/else"):
        at = project(tmp_path / place)
        for number in range(3):
            gradient(50 + number, 40).save(at.root / f"data/images/{number}.png", dpi=(number, 1))
        run(at, Here())
        run(at, Here())  # again is harmless
        files = sorted((at.root / "data/prepared").iterdir())
        made.append([(path.name, path.read_bytes()) for path in files])
    assert made[0] == made[1]
    assert sorted(path.name for path in (tmp_path / "here/data").iterdir()) == [
        "images",
        "prepared",
    ]


def test_every_fault_is_named_at_once_and_the_old_squares_stay(tmp_path: Path) -> None:
    at = project(tmp_path)
    images = tmp_path / "data/images"
    for name in ("a", "b"):
        gradient(40, 40).save(images / f"{name}.png")
    run(at, Here())
    (images / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (images / "empty.png").write_bytes(b"")
    gradient(8, 40).save(images / "thin.png")
    with pytest.raises(ConfigError) as raised:
        run(at, Here())
    assert raised.value.what == "data/images: 3 faults"
    told = "\n".join(raised.value.faults)
    assert all(
        word in told for word in ("cut.jpg", "empty.png", "thin.png: cannot be used: 8 x 40")
    )
    assert sorted(path.name for path in (tmp_path / "data/prepared").iterdir()) == [
        "a.png",
        "b.png",
    ]


def test_what_is_no_picture_is_named_and_so_is_a_caption_of_none(tmp_path: Path) -> None:
    at = project(tmp_path)
    images = tmp_path / "data/images"
    gradient(40, 40).save(images / "a.png")
    for name in ("film.mp4", "photo.heic", "gone.txt"):
        (images / name).write_text("x")
    (images / "metadata.jsonl").write_text('{"file_name": "missing.png", "text": "x"}\nno json\n')
    with pytest.raises(ConfigError) as raised:
        run(at, Here())
    told = raised.value.faults
    wanted = (
        "film.mp4",
        "photo.heic",
        "gone.txt",
        "missing.png",
        "metadata.jsonl, line 2",
        "1 pict",
    )
    assert all(any(word in fault for fault in told) for word in wanted), told
    assert len(told) == len(wanted)
    assert not (tmp_path / "data/prepared").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pictures; at least 2 are needed"):
        run(project(tmp_path), Here())


def test_small_pictures_are_enlarged_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = project(tmp_path, size=64)
    gradient(40, 90).save(tmp_path / "data/images/small.png")
    gradient(90, 90).save(tmp_path / "data/images/large.png")
    with caplog.at_level(logging.WARNING):
        made = run(at, Here())
    assert "small.png" in caplog.text
    assert "large.png" not in caplog.text
    assert made.said.endswith("1 of them were smaller and were enlarged")
    assert json.loads((tmp_path / "metrics/prepare.json").read_text())["enlarged"] == 1


def test_auto_is_the_size_that_is_trained(tmp_path: Path) -> None:
    for folder, train, wanted in (("a", {}, 64), ("b", {"image_size": 48}, 48)):
        at = project(tmp_path / folder, size="auto", **train)
        for name in ("a", "b"):
            gradient(100, 100).save(at.root / f"data/images/{name}.png")
        assert run(at, Here()).resolved == {"prepare.size": wanted}


def test_a_style_needs_captions(tmp_path: Path) -> None:
    at = project(tmp_path, kind="lora")
    for name in ("a", "b"):
        gradient(40, 40).save(tmp_path / f"data/images/{name}.png")
    (tmp_path / "data/images/a.txt").write_text("a sketch of a")
    with pytest.raises(ConfigError, match=r"b\.png: has no caption") as raised:
        run(at, Here())
    assert len(raised.value.faults) == 1


@pytest.mark.parametrize("size", [0, 15, 9000])
def test_a_size_out_of_range_is_refused(tmp_path: Path, size: int) -> None:
    at = project(tmp_path, size=size)
    with pytest.raises(ConfigError, match=f"prepare.size {size}: 16 to 8192 px"):
        run(at, Here())


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=12))
def test_names_are_safe_and_each_once(names: list[str]) -> None:
    found = list(safe_names(names).values())
    assert len({name.lower() for name in found}) == len(names)
    assert all(name.isascii() and "/" not in name and name[0] not in ".-" for name in found)
    assert safe_names(names) == safe_names(names)


def test_png_holds_pixels_alone() -> None:
    noted = gradient(16, 16)
    noted.info["dpi"] = (300, 300)
    assert png_bytes(noted) == png_bytes(gradient(16, 16))
