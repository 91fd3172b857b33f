"""Which pictures come when, how the rate goes, what the moving average and the losses are."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from teststrip.config import parse
from teststrip.train import rates
from teststrip.train.batches import Batches
from teststrip.train.config import Rate, TrainConfig
from teststrip.train.model import open_model
from teststrip.train.target import sample_losses

SQUARE, WIDE = (32, 32), (48, 24)


def test_every_picture_comes_equally_often_whatever_its_shape() -> None:
    shapes = [SQUARE] * 7 + [WIDE] * 3
    batches = Batches(shapes, [False] * 10, 4, seed=3)
    seen: Counter[int] = Counter()
    for number in range(10):
        (rows,) = batches.at(number)
        assert len(rows) == 4
        assert len({shapes[row] for row in rows}) == 1
        seen.update(rows)
    assert set(seen.values()) == {4}


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    shapes = [SQUARE] * 5 + [WIDE] * 4
    one, other = (Batches(shapes, [False] * 9, 2, seed=1) for _ in range(2))
    forwards = [one.at(k) for k in range(40)]
    assert [other.at(k) for k in reversed(range(40))][::-1] == forwards
    assert [Batches(shapes, [False] * 9, 2, seed=2).at(k) for k in range(40)] != forwards


def test_rounds_are_shuffled_anew() -> None:
    batches = Batches([SQUARE] * 6, [False] * 6, 6, seed=0)
    rounds = [tuple(batches.at(k)[0]) for k in range(5)]
    assert len(set(rounds)) == 5
    assert all(sorted(r) == list(range(6)) for r in rounds)


def test_few_pictures_fill_a_large_batch() -> None:
    (rows,) = Batches([SQUARE] * 3, [False] * 3, 8, seed=0).at(0)
    assert len(rows) == 8
    assert set(rows) == {0, 1, 2}


def test_the_class_comes_beside_the_subject() -> None:
    is_class = [False] * 3 + [True] * 5
    (rows,) = Batches([SQUARE] * 8, is_class, 2, seed=0).at(7)
    assert [is_class[row] for row in rows] == [False, False, True, True]
    shapes = [WIDE] * 3 + [SQUARE] * 5
    own, classes = Batches(shapes, is_class, 2, seed=0).at(7)
    assert [is_class[row] for row in own + classes] == [False, False, True, True]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "polynomial"])
@pytest.mark.parametrize("warm_up", [0, 5])
def test_rates_go_as_those_of_diffusers(name: str, warm_up: int) -> None:
    from diffusers.optimization import get_scheduler

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    known = "constant_with_warmup" if name == "constant" else name
    theirs = get_scheduler(known, optimizer, num_warmup_steps=warm_up, num_training_steps=30)
    rate = Rate.model_validate({"name": name, "warm_up": warm_up})
    for step in range(30):
        ours = 1e-3 * rates.factor(rate, step, 30, 1e-3)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_losses_and_min_snr_weights_are_those_of_diffusers(
    tmp_path: object, prediction: str
) -> None:
    from diffusers.training_utils import compute_snr

    from teststrip.testing.tiny import tiny_pipeline

    base = tiny_pipeline(tmp_path / "base", prediction_type=prediction)  # type: ignore[operator]
    config = parse(TrainConfig, {"name": "x", "base": str(base), "data": "x"}, "test")
    model = open_model(config, "cpu")
    assert (model.prediction, model.native, model.factor) == (prediction, (32, 32), 2)
    rng = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(6, 4, 16, 16, generator=rng) for _ in range(2))
    timesteps = torch.tensor([0, 1, 100, 500, 900, 999])
    hidden = model.encode(["a", "b", "c", "d", "e", "f"])
    noisy = model.noise.add_noise(latents, noise, timesteps)
    target = (
        noise if prediction == "epsilon" else model.noise.get_velocity(latents, noise, timesteps)
    )
    with torch.no_grad():
        answer = model.unet(noisy, timesteps, hidden, return_dict=False)[0]
        plain = sample_losses(model, latents, noise, timesteps, hidden)
        weighted = sample_losses(model, latents, noise, timesteps, hidden, snr_gamma=5.0)
    expected = ((answer - target) ** 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(plain, expected)
    snr = compute_snr(model.noise, timesteps)
    weights = torch.minimum(snr, torch.full_like(snr, 5.0))
    weights = weights / (snr if prediction == "epsilon" else snr + 1)
    torch.testing.assert_close(weighted, expected * weights, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("one_thread")
def test_latents_and_words_are_those_of_the_pipeline(config: Callable[..., TrainConfig]) -> None:
    from diffusers import StableDiffusionPipeline

    made = config()
    model = open_model(made, "cpu")
    pipe = StableDiffusionPipeline.from_pretrained(made.base.model, safety_checker=None)
    own = pipe.encode_prompt("a red circle", "cpu", 1, do_classifier_free_guidance=False)[0]
    assert torch.equal(model.encode(["a red circle"]), own)
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        found = pipe.vae.encode(pixels).latent_dist
    mean, std = model.moments(pixels)
    torch.testing.assert_close(mean, found.mean * pipe.vae.config.scaling_factor)
    torch.testing.assert_close(std, found.std * pipe.vae.config.scaling_factor)


@pytest.mark.usefixtures("one_thread")
def test_the_moving_average_starts_quickly_and_leaves_the_weights(
    config: Callable[..., TrainConfig],
) -> None:
    from teststrip.train import adapters
    from teststrip.train.ema import Ema

    made = config()
    weights = adapters.attach(open_model(made, "cpu"), made.lora, seed=0)
    ema = Ema(weights, 0.5)
    start = weights[0].flat.detach().clone()
    with torch.no_grad():
        weights[0].flat.add_(1.0)
    ema.update()
    moved = ema.flats[0] - start
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - 2 / 11))
    with ema.in_place():
        assert torch.equal(weights[0].flat, ema.flats[0])
        assert torch.equal(
            weights[0].params[0].flatten(), ema.flats[0][: weights[0].params[0].numel()]
        )
    torch.testing.assert_close(weights[0].flat.detach(), start + 1.0)


@pytest.mark.usefixtures("one_thread")
def test_flat_weights_are_trained_as_single_ones_would_be(
    config: Callable[..., TrainConfig],
) -> None:
    from teststrip.train import adapters, optimizers

    made = config()
    ours, theirs = open_model(made, "cpu"), open_model(made, "cpu")
    weights = adapters.attach(ours, made.lora, seed=0)
    adapters.attach(theirs, made.lora, seed=0)
    named = {n: p for n, p in theirs.unet.named_parameters() if p.requires_grad}
    for param in named.values():
        param.data, param.grad = param.data.clone(), None
    plain = torch.optim.AdamW(named.values(), lr=1e-2, fused=True)
    flat = optimizers.build(made.optimizer.model_copy(update={"lr": 1e-2}), weights)
    rng = np.random.default_rng(0)
    for _ in range(3):
        latents = torch.tensor(rng.normal(size=(2, 4, 16, 16)), dtype=torch.float32)
        hidden = torch.zeros(2, 77, 32)
        times = torch.tensor([10, 600])
        for model in (ours, theirs):
            sample_losses(model, latents, latents.flip(0), times, hidden).mean().backward()
        flat.step()
        plain.step()
        weights[0].flat.grad.zero_()
        plain.zero_grad()
    for name, tensor in weights[0].named().items():
        torch.testing.assert_close(tensor, named[name].detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("alpha", [None, 5.0])
def test_lean_layers_give_pefts_numbers_and_gradients(
    config: Callable[..., TrainConfig], alpha: float | None
) -> None:
    from teststrip.train import adapters
    from teststrip.train.lean import make_lean

    made = config(lora={"rank": 2, "alpha": alpha, "text_encoder": True})
    losses, gradients = [], []
    for lean in (False, True):
        model = open_model(made, "cpu")
        weights = adapters.attach(model, made.lora, seed=0)
        rng = torch.Generator().manual_seed(1)
        for each in weights:  # lora_B starts at 0, and then its other half has no gradient
            with torch.no_grad():
                each.flat.add_(0.3 * torch.randn(each.flat.shape, generator=rng))
        if lean:
            assert make_lean(model.unet) > 0
            assert make_lean(model.text_encoder) > 0
        latents, noise = (torch.randn(2, 4, 16, 16, generator=rng) for _ in range(2))
        hidden = model.encode(["a", "b"])
        each_loss = sample_losses(model, latents, noise, torch.tensor([5, 700]), hidden)
        each_loss.mean().backward()
        losses.append(each_loss.detach())
        gradients.append([w.flat.grad for w in weights])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)
    for plain, quick in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(plain, quick, rtol=1e-3, atol=1e-5)


def test_lean_leaves_dora_and_dropout_to_peft(config: Callable[..., TrainConfig]) -> None:
    from teststrip.train import adapters
    from teststrip.train.lean import make_lean

    for lora in ({"dora": True}, {"dropout": 0.1}):
        made = config(lora=lora)
        model = open_model(made, "cpu")
        adapters.attach(model, made.lora, seed=0)
        assert make_lean(model.unet) == 0
