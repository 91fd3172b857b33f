"""Copies are seen as copies, and a model that always makes one picture as one that does."""

import json
import math

import numpy as np
import pytest

from teststrip import Block, Generation, Recipe, Request, png
from teststrip.errors import ConfigError
from teststrip.plugins import SCORERS, load
from teststrip.testing.conformance import ScorerConformance
from teststrip.testing.small_trainer import read_pictures
from teststrip.train.measure.diversity import diversity
from teststrip.train.measure.nearest import NEAREST_PICTURE, Closeness, clip_options

pytestmark = pytest.mark.usefixtures("one_thread")


def image(picture, seed=0, prompt="a red circle"):
    request = Request(recipe=Recipe(steps=2), block=Block(prompt=prompt, seed=seed))
    return Generation(request, f"key{seed}", png.write(picture, request, {}), 0.1, 2)


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)


def named(row):
    return {key.partition(":")[0]: value for key, value in row.items()}


@pytest.fixture(scope="module")
def closeness(pictures):
    found = read_pictures(pictures)
    return Closeness(found[3:], found[:3])


def test_a_copy_of_a_training_picture_is_found_and_named(closeness, pictures):
    train = read_pictures(pictures)[3:]
    copy, other = image(np.asarray(train[4].open()), 0), image(noise(1), 1)

    first, second = (named(row) for row in closeness.judge([copy, other]))

    assert first["nearest"] == pytest.approx(1.0, abs=1e-4)
    assert first[NEAREST_PICTURE] == train[4].sha256
    assert second["nearest"] < 0.99
    assert first["likeness"] > second["likeness"]


def test_a_held_out_picture_is_near_but_no_copy(closeness, pictures):
    held_out = read_pictures(pictures)[0]
    (row,) = (named(r) for r in closeness.judge([image(np.asarray(held_out.open()))]))
    assert row["nearest"] < 0.999
    assert math.isnan(row["diversity"])


def test_numbers_are_those_of_the_scorers(closeness, pictures, tmp_path):
    train, held_out = read_pictures(pictures)[3:], read_pictures(pictures)[:3]
    manifest = tmp_path / "manifest.json"
    listed = [{"sha256": p.sha256, "split": "train"} for p in train]
    listed += [{"sha256": p.sha256, "split": "held_out"} for p in held_out]
    manifest.write_text(json.dumps({"pictures": listed}))
    options = {"folder": str(pictures), "manifest": str(manifest)}
    images = [image(noise(seed), seed) for seed in range(2)]

    rows = closeness.judge(images)

    for name, split in (("likeness", "held_out"), ("nearest", "train")):
        scorer = load(name, SCORERS, "scorer")(**options, split=split)
        assert set(scorer.columns.items()) <= set(closeness.columns.items())
        for row, scores in zip(rows, scorer.score(images), strict=True):
            for column, value in scores.items():
                assert row[column] == pytest.approx(value, abs=1e-6)


def test_class_pictures_and_duplicates_do_not_count(pictures):
    from dataclasses import replace

    found = read_pictures(pictures)
    one = Closeness(found[3:5], ())
    more = Closeness([*found[3:5], found[4], replace(found[5], is_class=True)], ())
    assert one.columns == more.columns
    assert [name.partition(":")[0] for name in one.columns] == ["nearest", "diversity"]


def test_another_set_of_pictures_is_another_column(pictures):
    found = read_pictures(pictures)
    first, second = Closeness(found[3:], ()), Closeness(found[4:], ())
    assert set(first.columns) & set(second.columns) == {list(first.columns)[-1]}


def test_a_torn_image_has_no_number_and_its_neighbours_have(closeness):
    from dataclasses import replace

    whole = [image(noise(seed), seed) for seed in range(3)]
    torn = replace(whole[1], png=whole[1].png[:60])

    rows = [named(row) for row in closeness.judge([whole[0], torn, whole[2]])]

    assert all(math.isnan(rows[1][name]) for name in ("likeness", "nearest", "diversity"))
    assert rows[0]["diversity"] == pytest.approx(rows[2]["diversity"])
    assert rows[0]["diversity"] > 0


def test_diversity_is_the_mean_distance_to_the_other_images_of_the_prompt():
    units = np.eye(3)[[0, 1, 0, 0, 2]]
    found = diversity(units, ["a", "a", "a", "b", "c"])
    assert found[:3] == pytest.approx([0.5, 1.0, 0.5])
    assert math.isnan(found[3])
    assert math.isnan(found[4])


def test_all_look_with_the_eyes_of_the_runs_clip(config):
    plain = config(validation={"scorers": ["technical"]})
    own = config(validation={"scorers": [{"name": "clip", "options": {"batch_size": 2}}]})
    assert clip_options(plain) == {}
    assert clip_options(own) == {"batch_size": 2}


class TestLikeness(ScorerConformance):
    """The shared laws."""

    kind = "likeness"

    @pytest.fixture
    def scorer(self, pictures):
        return load(self.kind, SCORERS, "scorer")(folder=str(pictures))

    @pytest.fixture
    def generations(self):
        return [image(noise(seed), seed) for seed in range(3)]


class TestNearest(TestLikeness):
    """The shared laws."""

    kind = "nearest"


@pytest.mark.parametrize("name", ["likeness", "nearest"])
def test_wrong_options_are_said_at_once(name, tmp_path):
    make = load(name, SCORERS, "scorer")
    with pytest.raises(ConfigError, match="folder: Field required") as caught:
        make(splt="train")
    assert "splt: unknown key" in str(caught.value)
    with pytest.raises(ConfigError, match="is no folder"):
        make(folder=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="holds none"):
        make(folder=str(tmp_path))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"bad\.png: cannot be read"):
        make(folder=str(tmp_path)).score([image(noise(0))])
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ConfigError, match="no manifest of a training run"):
        make(folder=str(tmp_path), manifest=str(tmp_path / "manifest.json"))
