"""The held-out loss: the same number for the same weights, and nobody notices it was measured."""

import numpy as np
import pytest
import torch

from teststrip.testing.small_trainer import add_lora, opened, read_pictures, train
from teststrip.train.data.examples import Examples
from teststrip.train.measure.held_out import HeldOut
from teststrip.train.target import sample_losses

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_same_weights_give_the_same_loss_whatever_was_drawn_between(config, pictures):
    settings = config()
    model, _, held_out = opened(settings, pictures)
    measure = HeldOut(model, held_out, settings).measure

    first = measure()
    torch.randn(7)
    np.random.default_rng().random(5)

    assert measure() == first
    assert set(first) == {picture.sha256 for picture in held_out.pictures}


def test_a_picture_has_its_own_number_whoever_else_is_held_out(config, pictures):
    settings = config()
    model, _, _ = opened(settings, pictures)
    found = read_pictures(pictures)
    some = Examples(found[:2], settings, model, None)
    others = Examples([found[5], found[1], found[0]], settings, model, None)

    together = HeldOut(model, some, settings).measure()
    apart = HeldOut(model, others, settings).measure()

    assert {k: apart[k] for k in together} == together


def test_it_is_the_plain_error_at_the_middles_of_equal_stretches(config, pictures):
    settings = config(loss={"snr_gamma": 5.0, "noise_offset": 0.1})
    model, _, held_out = opened(settings, pictures)

    found = HeldOut(model, held_out, settings).measure()

    picture = held_out.pictures[0]
    batch = held_out.batch([0], None)
    own = torch.Generator().manual_seed(int(picture.sha256[:15], 16))
    drawn = torch.randn((3, *batch.mean.shape[1:]), generator=own)
    latents = batch.mean + batch.std * drawn[:1]
    with torch.no_grad():
        by_hand = [
            sample_losses(model, latents, drawn[k : k + 1], torch.tensor([t]), batch.hidden).item()
            for k, t in ((1, 250), (2, 750))
        ]
    assert found[picture.sha256] == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_random_crops_and_flips_and_dropped_captions_do_not_reach_it(config, pictures):
    plain = config()
    wild = config(data={"crops": 8, "flip": True}, loss={"caption_dropout": 0.9})
    model, _, held_out = opened(plain, pictures)
    shaken = Examples(held_out.pictures, wild, model, None)

    assert HeldOut(model, shaken, wild).measure() == HeldOut(model, held_out, plain).measure()


def test_training_ends_in_the_same_weights_with_and_without_measuring(config, pictures):
    settings = config()
    ends = []
    for is_measured in (False, True):
        model, examples, held_out = opened(settings, pictures)
        weights = add_lora(model, settings, dropout=0.5)
        held = HeldOut(model, held_out, settings)
        after = (lambda step, held=held: held.measure()) if is_measured else lambda step: None
        ends.append(train(model, examples, weights, 3, after))

    assert torch.equal(*ends)


def test_adapters_count_and_dropout_does_not_and_modes_stay(config, pictures):
    settings = config()
    model, _, held_out = opened(settings, pictures)
    held = HeldOut(model, held_out, settings)
    base = held.measure()
    add_lora(model, settings, dropout=0.9)
    model.unet.train()
    model.unet.conv_in.eval()

    found = held.measure()

    assert found != base
    assert held.measure() == found
    assert model.unet.training
    assert not model.unet.conv_in.training


def test_draws_on_many_timesteps_are_split_into_rows_that_fit(config, pictures):
    many = config(batch=1, validation={"draws": 6})
    model, _, held_out = opened(many, pictures)
    wide = config(batch=4, validation={"draws": 6})

    small, large = (HeldOut(model, held_out, c).measure() for c in (many, wide))

    assert list(small.values()) == pytest.approx(list(large.values()), rel=1e-5)


def test_a_trained_text_encoder_is_asked_anew(config, pictures):
    settings = config(lora={"text_encoder": True})
    model, _, held_out = opened(settings, pictures)
    held = HeldOut(model, held_out, settings)
    before = held.measure()
    with torch.no_grad():
        for parameter in model.text_encoder.parameters():
            parameter.mul_(1.5)

    assert held.measure() != before
