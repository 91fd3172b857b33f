"""Two outputs of one stage: the same, near enough, or not; and by how much, in words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from teststrip.project import compare
from teststrip.project.compare import Difference


def apart(folder: Path, suffix: str, then: str | bytes, now: str | bytes) -> Difference | None:
    for name, content in (("then", then), ("now", now)):
        data = content.encode() if isinstance(content, str) else content
        (folder / f"{name}{suffix}").write_bytes(data)
    return compare.compare(folder / f"then{suffix}", folder / f"now{suffix}")


def weights(path: Path, values: torch.Tensor, name: str = "up", note: str = "") -> Path:
    save_file({name: values}, path, metadata={"note": note})
    return path


def test_the_same_bytes_are_no_difference_whatever_the_kind(tmp_path: Path) -> None:
    for suffix in (".json", ".bin", ".png"):
        assert apart(tmp_path, suffix, b"same", b"same") is None


@pytest.mark.parametrize(
    ("then", "now", "accepted"),
    [
        ('{"mean": 0.3}', '{"mean": 0.302}', True),
        ('{"mean": 0.3}', '{"mean": 0.31}', False),
        ('{"loss": 1e3}', '{"loss": 1.01e3}', True),
        ('{"loss": -1.0}', '{"loss": 1.0}', False),
        ('{"step": 100}', '{"step": 101}', False),
        ('{"mean": 0.0}', '{"mean": 0.001}', True),
        ('{"mean": 0.3}', '{"mean": NaN}', False),
        ('{"mean": 0.3}', '{"means": 0.3}', False),
        ('{"a": 0.3}', '{"a": 0.3, "b": 1}', False),
        ('{"refused": 0}', '{"refused": 1}', False),
        ("a,1.50\n", "a,1.5\n", True),
        ("v1.2.3-rc4,0.5\n", "v1.2.3-rc4,0.5001\n", True),
    ],
)
def test_words_are_the_same_and_numbers_are_near(
    tmp_path: Path, then: str, now: str, accepted: bool
) -> None:
    found = apart(tmp_path, ".json", then, now)

    assert found is not None
    assert found.accepted is accepted


def test_a_number_that_is_too_far_is_named_with_the_tolerance(tmp_path: Path) -> None:
    found = apart(tmp_path, ".csv", "step,loss\n1,0.51\n2,0.5\n", "step,loss\n1,0.511\n2,0.7\n")

    assert found is not None
    assert found.text.startswith("0.5 became 0.7 (numbers are accepted within 2% or 0.005")


def test_other_hashes_are_accepted_for_what_they_name_is_compared_itself(tmp_path: Path) -> None:
    found = apart(
        tmp_path, ".json", '{"sha256": "%s"}' % ("a1" * 32), '{"sha256": "%s"}' % ("b2" * 32)
    )

    assert found is not None
    assert found.accepted
    assert "hashes" in found.text


def test_pictures_within_a_page_do_not_count_there(tmp_path: Path) -> None:
    then = '<p>0.31</p><img src="data:image/png;base64,AAAA1111">'
    now = '<p>0.311</p><img src="data:image/png;base64,BBBBBBBB22==">'

    found = apart(tmp_path, ".html", then, now)

    assert found is not None
    assert found.accepted


def picture(path: Path, shift: float, note: str = "") -> Path:
    ramp = np.linspace(0, 200, 32 * 32).reshape(32, 32, 1) + shift
    texts = PngImagePlugin.PngInfo()
    texts.add_text("note", note)
    Image.fromarray(ramp.repeat(3, axis=2).astype(np.uint8)).save(path, pnginfo=texts)
    return path


@pytest.mark.parametrize(("shift", "accepted"), [(2, True), (40, False)])
def test_pictures_are_as_near_as_people_see(tmp_path: Path, shift: int, accepted: bool) -> None:
    found = compare.compare(picture(tmp_path / "then.png", 0), picture(tmp_path / "now.png", shift))

    assert found is not None
    assert found.accepted is accepted
    assert f"at most {shift} of 255" in found.text
    psnr = 10 * np.log10(255**2 / shift**2)  # every pixel differs by as much
    assert f"{psnr:.1f} dB (accepted from 30 dB)" in found.text


def test_pictures_with_other_text_or_size_say_so(tmp_path: Path) -> None:
    then = picture(tmp_path / "then.png", 0)
    other_text = compare.compare(then, picture(tmp_path / "now.png", 0, note="b"))
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    small = compare.compare(then, tmp_path / "small.png")

    assert other_text is not None
    assert other_text.accepted
    assert "same pixels" in other_text.text
    assert small is not None
    assert not small.accepted
    assert "RGB 32x32 and RGB 8x8" in small.text


def test_weights_are_compared_by_the_norm_of_their_difference(tmp_path: Path) -> None:
    then = weights(tmp_path / "then.safetensors", torch.full((4, 4), 2.0))
    near = weights(tmp_path / "near.safetensors", torch.full((4, 4), 2.02))
    far = weights(tmp_path / "far.safetensors", torch.full((4, 4), 2.5))

    accepted, refused = compare.compare(then, near), compare.compare(then, far)

    assert accepted is not None
    assert accepted.accepted
    assert "0.01 of their norm (accepted up to 0.08)" in accepted.text
    assert refused is not None
    assert not refused.accepted
    assert "0.25 of their norm" in refused.text


def test_weights_of_other_shapes_or_names_or_halved_files_are_refused(tmp_path: Path) -> None:
    then = weights(tmp_path / "then.safetensors", torch.ones(4))
    shape = compare.compare(then, weights(tmp_path / "a.safetensors", torch.ones(2, 2)))
    name = compare.compare(then, weights(tmp_path / "b.safetensors", torch.ones(4), name="down"))
    note = compare.compare(then, weights(tmp_path / "c.safetensors", torch.ones(4), note="other"))
    (tmp_path / "half.safetensors").write_bytes(then.read_bytes()[:40])
    half = compare.compare(then, tmp_path / "half.safetensors")
    nan = compare.compare(then, weights(tmp_path / "d.safetensors", torch.full((4,), float("nan"))))

    assert shape is not None
    assert "(4,) and (2, 2)" in shape.text
    assert name is not None
    assert "not the same tensors: down, up" in name.text
    assert note is not None
    assert note.accepted
    assert half is not None
    assert "cannot be read" in half.text
    assert nan is not None
    assert not any(found.accepted for found in (shape, name, half, nan))


def test_a_kind_without_a_tolerance_has_none(tmp_path: Path) -> None:
    found = apart(tmp_path, ".parquet", b"1234", b"12345")

    assert found is not None
    assert not found.accepted
    assert "4 and 5 bytes" in found.text
    assert "'.parquet'" in found.text
