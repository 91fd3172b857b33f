"""Batches for the loop: the same numbers with and without caches."""

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from teststrip.errors import ConfigError, ModelError
from teststrip.train.data.examples import Batch, Examples
from teststrip.train.data.prepare import prepare
from teststrip.train.model import open_model

pytestmark = pytest.mark.usefixtures("one_thread")
RICH = {"crops": 3, "flip": True, "size": [32, 16]}


@pytest.fixture(scope="module")
def model(tiny):
    from teststrip.train.config import TrainConfig

    wanted = TrainConfig.model_validate({"name": "m", "base": str(tiny), "data": "-"})
    return open_model(wanted, "cpu")


class Counting:
    """The model, and how often it was asked."""

    def __init__(self, model) -> None:
        self._model = model
        self.pictures = 0
        self.texts = 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def moments(self, pixels):
        self.pictures += len(pixels)
        return self._model.moments(pixels)

    def encode(self, texts):
        self.texts += len(texts)
        return self._model.encode(texts)


def examples(config, model, tmp_path, cache_home, **changes) -> Examples:
    wanted = config(**changes)
    run = tmp_path / str(len(list(tmp_path.iterdir())))
    return Examples(prepare(wanted, run).train, wanted, model, cache_home)


def batches(found: Examples, seed: int = 5, count: int = 4) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [found.batch([n, n + 1, 0], rng) for n in range(count)]


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        a.mean.equal(b.mean)
        and a.std.equal(b.std)
        and a.texts == b.texts
        and a.is_class.equal(b.is_class)
        and (a.hidden is b.hidden is None or a.hidden.equal(b.hidden))
        for a, b in zip(one, other, strict=True)
    )


def test_a_batch_has_the_shapes_that_the_loop_is_promised(config, model, tmp_path):
    found = examples(config, model, tmp_path, None, data=RICH)

    batch = found.batch([0, 2], np.random.default_rng(0))

    assert len(found) == len(found.shapes) == len(found.is_class) == len(found.pictures)
    assert found.shapes[0] == (32, 16)
    assert batch.mean.shape == batch.std.shape == (2, 4, 8, 16)
    assert batch.mean.dtype == batch.std.dtype == torch.float32
    assert (batch.std > 0).all()
    assert batch.hidden is not None
    assert batch.hidden.shape == (2, 77, 32)
    assert not batch.hidden.requires_grad
    assert batch.texts == [found.pictures[n].caption for n in (0, 2)]
    assert batch.is_class.tolist() == [False, False]


def test_latents_are_those_of_the_vae_and_hidden_states_those_of_the_encoder(
    config, model, tmp_path
):
    found = examples(config, model, tmp_path, tmp_path / "cache")
    picture = found.pictures[1]
    image = picture.open().resize((32, 32), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1

    batch = found.batch([1], None)

    with torch.no_grad():
        wanted = model.vae.encode(pixels).latent_dist
        words = model.tokenizer(
            picture.caption, padding="max_length", max_length=77, return_tensors="pt"
        )
        hidden = model.text_encoder(words.input_ids)[0]
    scale = model.vae.config.scaling_factor
    torch.testing.assert_close(batch.mean, wanted.mean * scale)
    torch.testing.assert_close(batch.std, wanted.std * scale)
    torch.testing.assert_close(batch.hidden, hidden)


@pytest.mark.parametrize("latents", [True, False])
@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("filled", [True, False])
def test_caches_change_no_bit(config, model, tmp_path, latents, texts, filled):
    told = {"data": RICH, "loss": {"caption_dropout": 0.3}}
    plain = examples(config, model, tmp_path, None, cache={"latents": 0, "texts": 0}, **told)
    kept = {"latents": latents, "texts": texts}
    cached = examples(config, model, tmp_path, tmp_path / "cache", cache=kept, **told)
    if filled:
        cached.fill()

    wanted = batches(plain)

    assert same(wanted, batches(cached))
    assert same(wanted, batches(cached))
    again = examples(config, model, tmp_path, tmp_path / "cache", cache=kept, **told)
    assert same(wanted, batches(again))
    assert len({tuple(b.texts) for b in wanted}) > 1


def test_draws_do_not_depend_on_settings_or_caches(config, model, tmp_path):
    ends = set()
    for told in ({}, {"data": RICH}, {"loss": {"caption_dropout": 0.5}}, {"cache": {"texts": 0}}):
        rng = np.random.default_rng(3)
        examples(config, model, tmp_path, None, **told).batch([0, 1], rng)
        ends.add(rng.random())

    assert len(ends) == 1


def test_after_filling_nothing_is_asked_of_the_model_and_another_run_asks_nothing(
    config, model, tmp_path
):
    asked = Counting(model)
    told = {"data": RICH, "loss": {"caption_dropout": 0.3}}
    found = examples(config, asked, tmp_path, tmp_path / "cache", **told)
    seen: list[tuple[int, int]] = []

    found.fill(lambda done, total: seen.append((done, total)))

    # views: 3 crops (32 x 16 of a square: all of them differ by height, if the draw differs) x 2
    assert asked.texts == len({p.caption for p in found.pictures}) + 1
    assert len(found) * 2 < asked.pictures <= len(found) * 6
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, total in seen} == {len(seen)}
    assert len(seen) == asked.pictures + asked.texts

    before = (asked.pictures, asked.texts)
    batches(found, count=6)
    again = examples(config, asked, tmp_path, tmp_path / "cache", **told)
    again.fill()
    batches(again, count=6)
    assert (asked.pictures, asked.texts) == before


def test_a_damaged_entry_is_made_again_and_gives_the_same(config, model, tmp_path, caplog):
    first = batches(examples(config, model, tmp_path, tmp_path / "cache"))
    for path in (tmp_path / "cache").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])

    assert same(first, batches(examples(config, model, tmp_path, tmp_path / "cache")))
    assert "made again" in caplog.text
    caplog.clear()
    assert same(first, batches(examples(config, model, tmp_path, tmp_path / "cache")))
    assert not caplog.records


def test_another_model_does_not_get_these_entries(config, model, tmp_path):
    asked = Counting(model)
    asked.fingerprint = "another"
    examples(config, model, tmp_path, tmp_path / "cache").fill()

    examples(config, asked, tmp_path, tmp_path / "cache").fill()

    assert asked.pictures
    assert asked.texts


def test_a_flip_is_encoded_as_such_and_not_a_mirrored_latent(config, model, tmp_path):
    # a VAE does not commute with mirroring: mirrored latents would be other pictures
    straight = examples(config, model, tmp_path, None, data={"flip": False})
    flipping = examples(config, model, tmp_path, None, data={"flip": True})
    plain = straight.batch([0], None).mean

    found = [flipping.batch([0], np.random.default_rng(n)).mean for n in range(12)]

    flipped = [mean for mean in found if not mean.equal(plain)]
    assert 0 < len(flipped) < 12
    assert all(mean.equal(flipped[0]) for mean in flipped)
    image = np.asarray(straight.pictures[0].open().resize((32, 32), Image.Resampling.LANCZOS))
    pixels = torch.from_numpy(image[:, ::-1].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    torch.testing.assert_close(flipped[0], model.moments(pixels)[0])
    assert not torch.allclose(flipped[0], plain.flip(3), atol=1e-4)


def test_where_the_text_encoder_is_trained_words_are_left_to_the_loop(config, model, tmp_path):
    asked = Counting(model)
    found = examples(config, asked, tmp_path, tmp_path / "cache", lora={"text_encoder": True})
    found.fill()

    batch = found.batch([0, 1], np.random.default_rng(0))

    assert batch.hidden is None
    assert all(batch.texts)
    assert not asked.texts


def test_all_captions_can_be_dropped_and_the_rest_stays(config, model, tmp_path):
    plain = examples(config, model, tmp_path, None)
    dropped = examples(config, model, tmp_path, None, loss={"caption_dropout": 1.0})

    a, b = (found.batch([0, 1], np.random.default_rng(0)) for found in (plain, dropped))

    assert b.texts == ["", ""]
    assert a.mean.equal(b.mean)
    assert dropped.batch([0], None).texts == [plain.pictures[0].caption]


def test_buckets_follow_the_pictures_and_small_ones_are_warned_of(config, model, tmp_path, caplog):
    folder = tmp_path / "shapes"
    folder.mkdir()
    for number, size in enumerate([(90, 50), (50, 90), (64, 64), (20, 20)]):
        Image.new("RGB", size, (number * 9, 0, 0)).save(folder / f"{number}.png")
    told = {"source": str(folder), "caption": "c", "held_out": 0, "buckets": True}
    with caplog.at_level(logging.WARNING):
        found = examples(config, model, tmp_path, None, data=told)

    assert found.shapes[0][0] > found.shapes[0][1]
    assert found.shapes[1] == found.shapes[0][::-1]
    assert found.shapes[2:] == [(32, 32), (32, 32)]
    assert (
        "1 of 4 pictures are smaller than the training size and are enlarged: 3.png" in caplog.text
    )
    for row, (width, height) in enumerate(found.shapes):
        assert found.batch([row], None).mean.shape == (1, 4, height // 2, width // 2)


def test_a_size_that_the_model_cannot_make_is_refused(config, tmp_path, model):
    asked = Counting(model)
    asked.multiple = 64

    with pytest.raises(ConfigError, match="32 x 16: this model takes sides that are multiples of"):
        examples(config, asked, tmp_path, None, data=RICH)


def test_latents_that_are_not_finite_are_never_kept(config, model, tmp_path):
    class Broken(Counting):
        def moments(self, pixels):
            mean, std = super().moments(pixels)
            return mean * torch.nan, std

    found = examples(config, Broken(model), tmp_path, tmp_path / "cache")

    with pytest.raises(ModelError, match=r"\.png: the model gives latents that are not finite"):
        found.fill()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_picture_that_vanished_is_named(config, model, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number}.png")
    told = {"source": str(folder), "caption": "c", "held_out": 0}
    found = examples(config, model, tmp_path, None, data=told)
    (folder / "1.png").unlink()

    with pytest.raises(ConfigError, match=r"1\.png was readable when the run began"):
        found.batch([0, 1], None)


def test_pictures_can_be_handed_to_other_processes(config, tmp_path):
    prepared = prepare(config(), tmp_path / "run")

    again = pickle.loads(pickle.dumps(prepared))

    assert again == prepared
    assert again.train[0].open().tobytes() == prepared.train[0].open().tobytes()
