"""What is found in a folder of pictures, and every fault by name."""

import io
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teststrip.errors import ConfigError
from teststrip.train.config import TrainConfig
from teststrip.train.data.picture import size_of, upright
from teststrip.train.data.prepare import Prepared, prepare


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40), **options: object) -> Path:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def config(source: Path, **data: object) -> TrainConfig:
    changes = {key: data.pop(key) for key in ("subject", "trigger") if key in data}
    return TrainConfig.model_validate(
        {"name": "t", "data": {"source": str(source), **data}} | changes
    )


def captions(prepared: Prepared) -> dict[str, str]:
    return {p.name: p.caption for p in (*prepared.train, *prepared.held_out)}


def faults(source: Path, **data: object) -> str:
    with pytest.raises(ConfigError) as caught:
        prepare(config(source, **data), source.parent / "run")
    assert not (source.parent / "run").exists()
    return str(caught.value)


def test_captions_come_from_metadata_then_from_text_files_then_from_the_config(tmp_path):
    folder = tmp_path / "pictures"
    for number, name in enumerate(("a.png", "b.jpg", "deep/c.PNG", "d.webp")):
        draw(folder / name, number)
    (folder / "metadata.jsonl").write_text(
        '\ufeff{"file_name": "a.png", "text": " from metadata "}\n\n'
        '{"file_name": "deep/c.PNG", "text": "deep one"}\n',
        encoding="utf-8",
    )
    (folder / "a.txt").write_text("not this one")
    (folder / "b.txt").write_text("from text, größer\n", encoding="utf-8")
    (folder / "notes.md").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"no picture")

    found = captions(prepare(config(folder, caption="from config"), tmp_path / "run"))

    assert found == {
        "a.png": "from metadata",
        "b.jpg": "from text, größer",
        "deep/c.PNG": "deep one",
        "d.webp": "from config",
    }


def test_a_metadata_file_in_a_deeper_folder_names_files_beside_it(tmp_path):
    folder = tmp_path / "pictures"
    draw(folder / "a.png", 0)
    draw(folder / "deep" / "b.png", 1)
    (folder / "deep" / "metadata.jsonl").write_text('{"file_name": "b.png", "said": "b"}')

    prepared = prepare(config(folder, caption="c", caption_column="said"), tmp_path / "run")

    assert captions(prepared) == {"a.png": "c", "deep/b.png": "b"}


def test_the_prompt_of_a_subject_is_the_last_to_be_asked(tmp_path):
    folder = tmp_path / "pictures"
    draw(folder / "a.png", 0)
    draw(folder / "b.png", 1)
    (folder / "b.txt").write_text("a zog on the grass")

    subject = {"instance_prompt": "a zog"}
    found = captions(prepare(config(folder, subject=subject), tmp_path / "run"))

    assert found == {"a.png": "a zog", "b.png": "a zog on the grass"}


def test_every_fault_is_told_at_once_by_name(tmp_path):
    folder = tmp_path / "pictures"
    draw(folder / "good.png", 0)
    (folder / "good.txt").write_text("good")
    draw(folder / "bare.png", 1)
    draw(folder / "thin.png", 2, (48, 8))
    whole = draw(folder / "cut.jpg", 3).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "fake.png").write_text("I am text")
    (folder / "empty.webp").touch()
    (folder / "good2.txt").write_bytes(b"\xff\xfe\xfa")
    draw(folder / "good2.png", 5)
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "gone.png", "text": "gone"}\n{"text": "no name"}\nnot json\n'
        '{"file_name": "cut.jpg", "text": 7}\n[1]\n'
    )

    told = faults(folder)

    for line in (
        "metadata.jsonl: gone.png: no such picture",
        "metadata.jsonl, line 2: needs",
        "metadata.jsonl, line 3: needs",
        "metadata.jsonl, line 4: file_name and text must be text",
        "metadata.jsonl, line 5: needs",
        "bare.png: has no caption",
        "thin.png: cannot be used: 48 x 8 px is too small; at least 16 px",
        "cut.jpg: cannot be used: image file is truncated",
        "fake.png: cannot be used: no picture format that is known",
        "empty.webp: cannot be used: no picture format that is known",
        "good2.txt: cannot be read",
    ):
        assert line in told
    assert "good.png" not in told


def test_pipes_and_links_to_nothing_are_told_and_odd_metadata_is_no_fault(tmp_path):
    folder = tmp_path / "pictures"
    whole = draw(folder / "a.tiff", 0).read_bytes()
    odd = Image.Exif()
    odd[0x0112] = 1
    draw(folder / "odd.jpg", 1, exif=odd)
    data = (folder / "odd.jpg").read_bytes()
    at = data.index(b"Exif") + 6
    (folder / "odd.jpg").write_bytes(data[: at + 4] + b"\xff\xff\xff\x00" + data[at + 8 :])
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to(tmp_path / "nothing.png")
    (folder / "cut.tiff").write_bytes(whole[:400])

    told = faults(folder, caption="c")

    assert "pipe.png: cannot be used: no ordinary file" in told
    assert "link.png: cannot be used: [Errno 2] No such file" in told
    assert "cut.tiff: cannot be used: " in told
    assert "odd.jpg" not in told
    assert "a.tiff" not in told


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_are_a_picture_or_an_os_error_and_nothing_else(kind):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (12, 15, 3), dtype=np.uint8))
    whole = np.frombuffer(encoded(image, kind), np.uint8)
    for _ in range(150):
        bad = whole.copy()
        bad[rng.integers(0, min(len(bad), 400), 3)] = rng.integers(0, 256, 3)
        data = bad[: rng.integers(1, len(bad) + 1)].tobytes()
        try:
            width, height = size_of(data)
            if width * height < 10**6:
                upright(data)
        except OSError:
            continue


def test_copies_that_were_saved_anew_stand_on_one_side(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(12):
        draw(folder / f"{number}.png", number)
        draw(folder / f"{number}.bmp", number)

    prepared = prepare(config(folder, caption="c", held_out=0.4), tmp_path / "run")

    trained, held = (
        {p.name.split(".")[0] for p in part} for part in (prepared.train, prepared.held_out)
    )
    assert held
    assert not trained & held
    assert len(prepared.train) == 2 * len(trained)
    assert len(prepared.held_out) == len(held)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    folder = tmp_path / "pictures"
    draw(folder / "a.png", 0)
    for name, size in (("huge.png", (20_000, 5_001)), ("bomb.png", (30_000, 30_000))):
        head = io.BytesIO()
        Image.new("1", (16, 16)).save(head, "PNG")
        data = bytearray(head.getvalue())
        data[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
        data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
        (folder / name).write_bytes(bytes(data))

    told = faults(folder, caption="c")

    assert "huge.png: cannot be used: 20000 x 5001 px is huge; at most 100 megapixels" in told
    assert "bomb.png: cannot be used: huge; at most 100 megapixels" in told


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "holds no pictures; accepted: .png .jpg"),
        (["a.png"], "only one picture (a.png): none would be left to be held out"),
        (["a.png", "a.png again"], "only one picture (a.png, 2 times)"),
    ],
)
def test_too_few_pictures_are_refused_with_the_reason(tmp_path, made, message):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in made:
        draw(folder / f"{name.removesuffix(' again').replace('.png', '')}{len(name)}.png", 0)
    for path in folder.glob("a5.png"):
        path.rename(folder / "a.png")

    assert message in faults(folder, caption="c")


def test_one_picture_will_do_where_none_is_to_be_held_out(tmp_path):
    draw(tmp_path / "pictures" / "a.png")

    prepared = prepare(config(tmp_path / "pictures", caption="c", held_out=0), tmp_path / "run")

    assert [p.name for p in prepared.train] == ["a.png"]
    assert prepared.held_out == ()


def test_a_folder_that_is_not_there_is_one_clear_message(tmp_path):
    assert "no such folder; accepted: a folder of pictures" in faults(tmp_path / "none")


def test_pictures_are_upright_and_sizes_are_as_seen(tmp_path):
    folder = tmp_path / "pictures"
    values = np.zeros((20, 40, 3), dtype=np.uint8)
    values[:, :20] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    folder.mkdir()
    Image.fromarray(values).save(folder / "a.png", exif=exif)
    draw(folder / "b.png", 1)

    prepared = prepare(config(folder, caption="c"), tmp_path / "run")

    picture = next(p for p in (*prepared.train, *prepared.held_out) if p.name == "a.png")
    assert (picture.width, picture.height) == (20, 40)
    seen = np.asarray(picture.open())
    assert seen.shape == (40, 20, 3)
    assert seen[:20].min() == 255  # left has become top
    assert seen[20:].max() == 0


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("image", "kind", "wanted"),
    [
        (Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (16, 16), (255, 0, 0, 255)), "PNG", (255, 0, 0)),
        (Image.new("LA", (16, 16), (0, 0)), "PNG", (255, 255, 255)),
        (Image.new("L", (16, 16), 100), "PNG", (100, 100, 100)),
        (Image.new("1", (16, 16), 1), "PNG", (255, 255, 255)),
        (Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "TIFF", (255, 255, 255)),
        (Image.fromarray(np.full((16, 16), 0x8000, np.uint16)), "PNG", (128, 128, 128)),
    ],
)
def test_every_kind_of_picture_becomes_rgb(image, kind, wanted):
    seen = upright(encoded(image, kind))

    assert seen.mode == "RGB"
    assert seen.getpixel((3, 3)) == wanted


def test_a_transparent_palette_is_laid_on_white_and_an_animation_gives_its_first_frame():
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]

    assert upright(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert upright(moving).getpixel((0, 0)) == (255, 0, 0)


def test_the_manifest_says_what_every_picture_was(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(6):
        draw(folder / f"{number}.png", number)

    seen = []
    prepared = prepare(
        config(folder, caption="c", held_out=0.3),
        tmp_path / "run",
        on_progress=lambda *told: seen.append(told),
    )

    assert seen == [(n, 6) for n in range(1, 7)]
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert kept["dataset_hash"] == prepared.dataset_hash
    assert len(kept["dataset_hash"]) == 64
    rows = {row["name"]: row for row in kept["pictures"]}
    assert len(rows) == 6
    for split, pictures in (("train", prepared.train), ("held_out", prepared.held_out)):
        for p in pictures:
            wanted = {"name": p.name, "sha256": p.sha256, "size": [48, 40]}
            assert rows[p.name] == wanted | {"caption": "c", "split": split}


def test_a_run_goes_on_only_with_the_pictures_that_it_was_begun_with(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(6):
        draw(folder / f"{number}.png", number)
    first = prepare(config(folder, caption="c"), tmp_path / "run")
    before = (tmp_path / "run" / "manifest.json").stat()

    again = prepare(config(folder, caption="c"), tmp_path / "run")

    assert again == first
    assert (tmp_path / "run" / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns

    (folder / "0.png").unlink()
    draw(folder / "1.png", 77)
    draw(folder / "new.png", 78)
    (folder / "2.txt").write_text("other words")
    with pytest.raises(ConfigError, match="give the new run another name") as caught:
        prepare(config(folder, caption="c"), tmp_path / "run")
    told = caught.value.faults
    assert "0.png: removed" in told
    assert "1.png: another picture" in told
    assert "2.png: another caption" in told
    assert "new.png: added" in told


def test_the_dataset_hash_depends_on_contents_and_captions_not_on_names(tmp_path):
    hashes = []
    for run, names in (("one", "abcdef"), ("two", "fedcba")):
        for number, name in enumerate(names):
            draw(tmp_path / run / f"{name}.png", number)
        hashes.append(prepare(config(tmp_path / run, caption="c"), tmp_path / f"{run}-run"))
    other = prepare(config(tmp_path / "one", caption="d"), tmp_path / "other-run")

    assert hashes[0].dataset_hash == hashes[1].dataset_hash != other.dataset_hash


def test_a_trigger_that_no_caption_holds_is_warned_of(tmp_path, caplog):
    for number in range(4):
        draw(tmp_path / "pictures" / f"{number}.png", number)

    prepare(config(tmp_path / "pictures", caption="a zog", trigger="zog"), tmp_path / "r1")
    assert not caplog.records
    prepare(config(tmp_path / "pictures", caption="a zog", trigger="sks"), tmp_path / "r2")
    assert "'sks' is in no caption" in caplog.text
