"""Hugging Face datasets that were saved to disk."""

import numpy as np
import pytest
from PIL import Image

from teststrip.errors import ConfigError
from teststrip.train.config import TrainConfig
from teststrip.train.data.prepare import prepare

datasets = pytest.importorskip("datasets")


def image(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(values)


def rows(count: int = 6, **changes: object):
    columns = {"image": [image(n) for n in range(count)], "text": [f"c {n}" for n in range(count)]}
    return datasets.Dataset.from_dict(columns | changes).cast_column("image", datasets.Image())


def asked(folder, **data: object) -> TrainConfig:
    return TrainConfig.model_validate({"name": "t", "data": {"source": str(folder), **data}})


def test_rows_are_read_with_their_captions_and_pixels(tmp_path):
    rows().save_to_disk(str(tmp_path / "set"))

    prepared = prepare(asked(tmp_path / "set"), tmp_path / "run")

    found = {p.name: p for p in (*prepared.train, *prepared.held_out)}
    assert {name: p.caption for name, p in found.items()} == {
        f"row {n}": f"c {n}" for n in range(6)
    }
    for n in range(6):
        assert np.array_equal(np.asarray(found[f"row {n}"].open()), np.asarray(image(n)))


def test_of_several_splits_train_is_taken_and_others_must_be_named(tmp_path):
    datasets.DatasetDict({"train": rows(4), "test": rows(2)}).save_to_disk(str(tmp_path / "set"))
    datasets.DatasetDict({"a": rows(2), "b": rows(2)}).save_to_disk(str(tmp_path / "odd"))

    prepared = prepare(asked(tmp_path / "set"), tmp_path / "run")

    assert len(prepared.train) + len(prepared.held_out) == 4
    with pytest.raises(ConfigError, match="holds the splits a, b; name the folder of one"):
        prepare(asked(tmp_path / "odd"), tmp_path / "run2")
    assert prepare(asked(tmp_path / "odd" / "a"), tmp_path / "run3").train


def test_a_column_that_holds_no_pictures_is_refused_with_the_columns_there_are(tmp_path):
    rows().save_to_disk(str(tmp_path / "set"))

    for column in ("text", "picture"):
        with pytest.raises(ConfigError, match=r"its columns: image \(Image\), text \(Value\)"):
            prepare(asked(tmp_path / "set", image_column=column), tmp_path / "run")


def test_faulty_rows_are_named_by_number(tmp_path):
    cut = {"bytes": b"\x89PNG\r\n\x1a\nbroken", "path": None}
    columns = {"image": [image(0), cut, None, image(3)], "text": ["a", "b", "c", None]}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    encoded = [
        features["image"].encode_example(i) if i is not None else None for i in columns["image"]
    ]
    datasets.Dataset.from_dict(columns | {"image": encoded}, features=features).save_to_disk(
        str(tmp_path / "set")
    )

    with pytest.raises(ConfigError) as caught:
        prepare(asked(tmp_path / "set"), tmp_path / "run")

    told = str(caught.value)
    assert "row 1: cannot be used: no picture format that is known" in told
    assert "row 2: cannot be used: the row holds no picture" in told
    assert "row 3: has no caption" in told
    assert "row 0" not in told


def test_a_caption_column_of_numbers_and_a_damaged_folder_are_told(tmp_path):
    rows(2, text=[1, 2]).save_to_disk(str(tmp_path / "set"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "state.json").write_text("{}")

    with pytest.raises(ConfigError, match="row 0: text is no text"):
        prepare(asked(tmp_path / "set"), tmp_path / "run")
    with pytest.raises(ConfigError, match="cannot be opened as a dataset"):
        prepare(asked(tmp_path / "bad"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
