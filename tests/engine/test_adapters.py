"""Adapters: the plain pipeline's pictures, named by their content, bounded in number."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from teststrip import Block, Engine, Failure, Generation, Recipe, Request, png
from teststrip.engine import EnginePool
from teststrip.engine.pipelines.sd import StableDiffusion
from teststrip.errors import ModelError
from teststrip.recipe import Lora
from teststrip.testing.plain import pixels_of
from teststrip.testing.tiny import tiny_pipeline
from teststrip.testing.tiny_lora import tiny_lora

Make = Callable[..., Path]


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Make:
    count = itertools.count()
    return lambda **options: tiny_lora(tmp_path / str(next(count)), folder, **options)


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    options: dict[str, Any] = {"dtype": "fp32", "device": "cpu", "deterministic": True}
    with Engine.open(str(folder), max_rows=4, cached_adapters=2, **options) as opened:
        yield opened


def request(folder: Path, *loras: tuple[Path, float], seed: int = 4) -> Request:
    recipe = Recipe(
        model=str(folder),
        steps=3,
        guidance=3,
        loras=tuple(Lora(path=str(path), scale=scale) for path, scale in loras),
    )
    return Request(recipe=recipe, block=Block(prompt="a cat", seed=seed))


def made(engine: Any, *requests: Request) -> list[Generation]:
    by_request = {out.request: out for out in engine.generate(requests)}
    outcomes = [by_request[one] for one in requests]
    assert all(isinstance(out, Generation) for out in outcomes), outcomes
    return outcomes


def with_diffusers(pipe: Any, folder: Path, *loras: tuple[Path, float]) -> Any:
    plain = type(pipe).from_pretrained(folder)
    plain.set_progress_bar_config(disable=True)
    for k, (path, _) in enumerate(loras):
        plain.load_lora_weights(path.parent, weight_name=path.name, adapter_name=f"a{k}")
    plain.set_adapters([f"a{k}" for k in range(len(loras))], [scale for _, scale in loras])
    return plain


def apart(left: Any, right: Any) -> int:
    return int(np.abs(left.astype(int) - right).max())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 3, "rank": 6, "text_encoder": True},
        {"use_rslora": True},
        {"use_dora": True},
        {"targets": ("to_q", "proj_in", "ff.net.2", "conv1"), "rank_pattern": {"to_q": 2}},
        {"alpha_pattern": {"to_q": 2}, "use_rslora": True},
    ],
    ids=["plain", "text encoder", "rank-stabilised", "DoRA", "convolutions", "patterns"],
)
def test_every_kind_makes_the_plain_pipelines_picture(
    options: dict[str, Any], make: Make, folder: Path, pipe: Any, engine: Engine
) -> None:
    lora = make(**options)
    wanted = request(folder, (lora, 0.8))

    (one,) = made(engine, wanted)

    plain = with_diffusers(pipe, folder, (lora, 0.8))
    assert apart(png.pixels(one.png), pixels_of(plain, wanted)) <= 1
    (without,) = made(engine, request(folder))
    assert apart(png.pixels(one.png), png.pixels(without.png)) > 1


def test_a_dora_of_the_text_encoder_acts_as_it_was_trained(
    make: Make, folder: Path, engine: Engine
) -> None:
    """diffusers 0.42 leaves its magnitudes out, so peft's own model is what is compared with."""
    from peft import LoraConfig, set_peft_model_state_dict

    lora = make(text_encoder=True, use_dora=True)
    engine._pipeline.use_adapters(engine._adapters.find([Lora(path=str(lora))]))
    ours = engine._pipeline.encode("a cat", clip_skip=0)

    from teststrip.engine.loading import open_pipeline

    fresh = open_pipeline(folder, torch.float32, "cpu")
    fresh.text_encoder.add_adapter(
        LoraConfig(
            r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "out_proj"],
            use_dora=True,
        )
    )  # fmt: skip
    tensors = safetensors.torch.load_file(lora)
    own = {
        key.removeprefix("text_encoder."): tensor
        for key, tensor in tensors.items()
        if key.startswith("text_encoder.")
    }
    assert not set_peft_model_state_dict(fresh.text_encoder, own).unexpected_keys
    wanted = fresh.encode_prompt("a cat", "cpu", 1, do_classifier_free_guidance=False)[0]
    assert torch.allclose(ours, wanted, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # diffusers' own
def test_several_at_once_add_up_and_leave_no_trace(
    make: Make, folder: Path, pipe: Any, engine: Engine
) -> None:
    first, second = make(seed=1), make(seed=2, text_encoder=True)
    both = request(folder, (first, 0.7), (second, -0.4))
    plain = request(folder)

    before, together, after = made(engine, plain)[0], made(engine, both)[0], made(engine, plain)[0]

    wanted = pixels_of(with_diffusers(pipe, folder, (first, 0.7), (second, -0.4)), both)
    assert apart(png.pixels(together.png), wanted) <= 1
    assert before.png == after.png
    assert (png.pixels(before.png) == pixels_of(pipe, plain)).all()


def test_old_text_encoder_keys_and_kohya_keys_are_read(
    make: Make, folder: Path, engine: Engine
) -> None:
    lora = make(text_encoder=True, alpha=2)
    tensors = safetensors.torch.load_file(lora)
    with safetensors.safe_open(lora, "pt") as file:
        metadata = file.metadata()
    classic = {
        k.replace("text_encoder.", "text_encoder.text_model."): v for k, v in tensors.items()
    }
    kohya = {}
    for key, tensor in classic.items():
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        name = module.replace("text_encoder.", "lora_te.").replace("unet.", "lora_unet.")
        end = {"lora_A": "lora_down", "lora_B": "lora_up"}[kind]
        kohya[f"{name.replace('.', '_')}.{end}.weight"] = tensor
        kohya[f"{name.replace('.', '_')}.alpha"] = torch.tensor(2.0)
    safetensors.torch.save_file(classic, lora.with_name("classic.safetensors"), metadata)
    safetensors.torch.save_file(kohya, lora.with_name("kohya.safetensors"))

    three = [
        request(folder, (lora.with_name(name), 1.0))
        for name in (lora.name, "classic.safetensors", "kohya.safetensors")
    ]
    pictures = [png.pixels(out.png) for out in made(engine, *three)]

    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] == pictures[2]).all()


def test_a_file_that_changed_under_its_path_is_another_picture_with_another_name(
    make: Make, folder: Path, engine: Engine
) -> None:
    lora, other = make(seed=1), make(seed=2)
    wanted = request(folder, (lora, 1.0))
    (old,) = made(engine, wanted)

    shutil.copyfile(other, lora)
    (new,) = made(engine, wanted)
    (copied,) = made(engine, request(folder, (other, 1.0)))

    assert new.image_key != old.image_key
    assert apart(png.pixels(new.png), png.pixels(old.png)) > 1
    assert (png.pixels(new.png) == png.pixels(copied.png)).all()
    assert png.read(new.png).facts["fingerprint"] != png.read(old.png).facts["fingerprint"]


def test_keys_of_recipes_without_adapters_are_what_they_were(folder: Path, engine: Engine) -> None:
    plain = request(folder)
    (out,) = made(engine, plain)

    assert engine.fingerprint_of(plain.recipe) == engine.fingerprint
    assert out.image_key == plain.image_key(engine.fingerprint)


def test_a_pools_fingerprint_names_the_content_not_the_path(make: Make, folder: Path) -> None:
    lora = make()
    twin = Path(shutil.copyfile(lora, lora.with_name("twin.safetensors")))
    pool = EnginePool(device="cpu", dtype="fp32")

    names = [pool.fingerprint(request(folder, (path, 0.5)).recipe) for path in (lora, twin)]
    wanted = request(folder, (lora, 0.5))
    (out,) = made(pool, wanted)
    pool.close()

    assert names[0] == names[1]
    assert out.image_key == wanted.image_key(names[0])


def test_a_file_that_changes_while_images_wait_fails_them(
    make: Make, folder: Path, engine: Engine
) -> None:
    lora, other = make(seed=1), make(seed=2)
    engine.add_request(request(folder, (lora, 1.0)))
    shutil.copyfile(other, lora)

    (out,) = engine.step()

    assert isinstance(out, Failure)
    assert "was changed while" in out.reason


def test_many_checkpoints_pass_and_few_stay(make: Make, folder: Path, engine: Engine) -> None:
    adapters = engine._pipeline.adapters
    loras = [make(seed=seed, text_encoder=seed % 2 == 0) for seed in range(5)]
    requests = [request(folder, (lora, 1.0)) for lora in loras]

    first = [made(engine, one)[0] for one in requests]
    again = [made(engine, one)[0] for one in reversed(requests)]

    assert len(adapters.loaded) == 2
    names = {n for _, m in engine._pipeline.unet.named_modules() for n in getattr(m, "lora_A", ())}
    assert len(names) == 2
    assert [out.png for out in first] == [out.png for out in reversed(again)]


def test_sets_that_come_mixed_are_made_set_by_set(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loras = [make(seed=seed) for seed in range(3)]
    swaps = []

    class Counting(StableDiffusion):
        def use_adapters(self, adapters: Any) -> None:
            if not swaps or swaps[-1] != adapters:
                swaps.append(adapters)
            super().use_adapters(adapters)

    with Engine.open(str(folder), dtype="fp32", device="cpu", max_rows=4) as engine:
        engine._pipeline = Counting(engine._pipeline.pipe)
        mixed = [request(folder, (loras[k % 3], 1.0), seed=k) for k in range(24)]
        made(engine, *mixed)

    assert len(swaps) == 3


def test_random_draws_around_are_untouched(make: Make, folder: Path, engine: Engine) -> None:
    lora = make()
    torch.manual_seed(5)
    wanted = torch.rand(3)

    torch.manual_seed(5)
    made(engine, request(folder, (lora, 1.0)))

    assert (torch.rand(3) == wanted).all()


def test_an_adapter_of_another_architecture_is_one_clear_message(
    make: Make, folder: Path, engine: Engine, tmp_path: Path
) -> None:
    sd2 = tiny_lora(
        tmp_path / "sd2", tiny_pipeline(tmp_path / "base", variant="sd2"), targets=("proj_in",)
    )
    wide = safetensors.torch.load_file(make())
    wide = {k: torch.cat([v, v], 1) if "lora_A" in k else v for k, v in wide.items()}
    strange = {f"transformer.{k}": v for k, v in wide.items()}
    lokr = {k.replace("lora_A", "lokr_w1"): v for k, v in wide.items()}
    dora = {"lora_unet_mid_block_attentions_0_proj_in.dora_scale": torch.ones(32, 1)}
    sick = {k: v * float("nan") for k, v in safetensors.torch.load_file(make()).items()}
    files = {}
    for name, tensors in {
        "wide": wide, "strange": strange, "lokr": lokr, "dora": dora, "sick": sick,
    }.items():  # fmt: skip
        files[name] = tmp_path / f"{name}.safetensors"
        safetensors.torch.save_file(tensors, files[name])
    (tmp_path / "empty").mkdir()
    words = {
        files["wide"]: "another architecture.*32 inputs.*the adapter's 64",
        files["strange"]: "another architecture.*no layer of this model",
        files["lokr"]: "LyCORIS",
        files["dora"]: "dora_scale",
        files["sick"]: "not finite",
        tmp_path / "empty": "0 safetensors files",
        Path("models:/x@challenger"): "MLflow registry",
    }
    (good,) = made(engine, request(folder))
    adapters = engine._pipeline.adapters

    for path, word in words.items():
        with pytest.raises(ModelError, match=word):
            adapters.use(engine._adapters.find([Lora(path=str(path))]))
    # A linear layer's LoRA and a 1 x 1 convolution's are one thing in two spellings.
    adapters.use(engine._adapters.find([Lora(path=str(sd2))]))

    assert made(engine, request(folder))[0].png == good.png
