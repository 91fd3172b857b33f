"""The UNet with the LoRA in its weights, for onnxruntime: any batch, size and prompt length."""

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from teststrip.errors import MissingExtra, StudyError
from teststrip.train.export.checks import TEXT
from teststrip.train.export.merged import merged_pipeline
from teststrip.train.export.metadata import lineage
from teststrip.train.export.source import Source

MARK, MODEL = "onnx.json", "model.onnx"
INPUTS, OUTPUT = ("sample", "timestep", "encoder_hidden_states"), "out_sample"
LIMIT = 1e-3  # of the largest value; fp32 sums in another order differ by about 1e-6
LEAST_PSNR_DB = 40.0
STEPS, GUIDANCE, SEED = 4, 3.0, 0
Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class _Tensors(torch.nn.Module):
    """The UNet as tensors in, tensor out."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        """[B, C, h, w], [B], [B, T, D] -> [B, C, h, w]."""
        return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]


def write_onnx(source: Source, place: Path) -> dict[str, float]:
    """Write model.onnx, its weights beside it, onnx.json and two pictures; returns the numbers.

    Compared with the merged model: UNet outputs at several batches and sizes, and an image of four
    steps. Raises StudyError above tolerance, MissingExtra without onnx and onnxruntime.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"ONNX export ({package})", "onnx")
    pipe = merged_pipeline(source)
    unet = _Tensors(pipe.unet).eval()
    place.mkdir(parents=True, exist_ok=True)
    _export(unet, pipe.unet.config, place / MODEL)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(place / MODEL), providers=["CPUExecutionProvider"])

    def predict(*inputs: torch.Tensor) -> torch.Tensor:
        given = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    shapes = _parity(unet, predict, pipe.unet.config)
    psnr = _images(pipe, unet, predict, place)
    numbers = {"unet_difference": max(shapes.values()), "image_psnr_db": psnr}
    notes = {
        "inputs": dict(
            zip(INPUTS, ("[batch, C, h, w]", "[batch]", "[batch, tokens, D]"), strict=True)
        ),
        "multiple_of": _multiple(pipe.unet.config),
        "difference_by_shape": shapes,
        **numbers,
        **lineage(source),
    }
    (place / MARK).write_text(json.dumps(notes, indent=1, ensure_ascii=False))
    return numbers


def _export(unet: _Tensors, config: Any, path: Path) -> None:
    from torch.export import Dim

    multiple = _multiple(config)
    height, width = _size(config)
    batch, tokens = Dim("batch", min=1, max=1024), Dim("tokens", min=2, max=4096)
    rows, columns = Dim("rows", min=1, max=512), Dim("columns", min=1, max=512)
    shapes = {
        INPUTS[0]: {0: batch, 2: multiple * rows, 3: multiple * columns},
        INPUTS[1]: {0: batch},
        INPUTS[2]: {0: batch, 1: tokens},
    }
    # A batch of 1 would be taken for a constant, and equal sides for one and the same number.
    example = _inputs(config, 2, height, width + multiple, 77)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            unet,
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            external_data=True,
            optimize=True,
            verbose=False,
        )
        program.save(str(path), external_data=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own words on its deprecated parts and on packages that are not here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _parity(unet: _Tensors, predict: Predict, config: Any) -> dict[str, float]:
    """Largest difference over largest value, by batch x height x width x tokens in latents."""
    height, width = _size(config)
    multiple = _multiple(config)
    found = {}
    for batch, h, w, tokens in (
        (1, height, width, 77),
        (2, height, width, 77),
        (3, height + multiple, width, 154),
    ):
        inputs = _inputs(config, batch, h, w, tokens)
        with torch.no_grad():
            wanted = unet(*inputs)
        gap = float((predict(*inputs) - wanted).abs().max() / wanted.abs().max())
        found[f"{batch}x{h}x{w}x{tokens}"] = gap
        if not gap <= LIMIT:
            raise StudyError(
                f"onnx: at batch {batch}, latents {h} x {w}, {tokens} tokens onnxruntime differs "
                f"by {gap:.2g} of the largest value (accepted {LIMIT:.0e}); it was not written"
            )
    return found


def _images(pipe: Any, unet: _Tensors, predict: Predict, place: Path) -> float:
    """PSNR in dB between the same image by torch and by onnxruntime; both are saved."""
    with torch.no_grad():
        left, right = (_image(pipe, one) for one in (unet, predict))
    Image.fromarray(left).save(place / "torch.png")
    Image.fromarray(right).save(place / "onnx.png")
    error = float(np.mean((left.astype(np.float64) - right) ** 2))
    psnr = min(10 * np.log10(255**2 / error), 100.0) if error else 100.0
    if psnr < LEAST_PSNR_DB:
        raise StudyError(
            f"onnx: its image of {STEPS} steps differs from torch's (PSNR {psnr:.1f} dB, accepted "
            f"from {LEAST_PSNR_DB:.0f} dB); it was not written"
        )
    return float(psnr)


def _image(pipe: Any, predict: Predict) -> Any:
    """One image by DDIM, guided: uint8 [H, W, 3]."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(STEPS)
    both = pipe.encode_prompt(TEXT, pipe.device, 1, do_classifier_free_guidance=True)
    hidden = torch.cat([both[1], both[0]])
    config = pipe.unet.config
    generator = torch.Generator("cpu").manual_seed(SEED)
    latents = torch.randn(1, config.in_channels, *_size(config), generator=generator)
    for time in scheduler.timesteps:
        times = time.to(torch.float32).expand(2)
        without, prompted = predict(torch.cat([latents] * 2), times, hidden).chunk(2)
        guided = without + GUIDANCE * (prompted - without)
        latents = scheduler.step(guided, time, latents, return_dict=False)[0]
    pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
    return np.asarray(pipe.image_processor.postprocess(pixels, output_type="pil")[0])


def _inputs(config: Any, batch: int, height: int, width: int, tokens: int) -> Any:
    generator = torch.Generator("cpu").manual_seed(batch)
    return (
        torch.randn(batch, config.in_channels, height, width, generator=generator),
        torch.linspace(50, 900, batch),
        torch.randn(batch, tokens, config.cross_attention_dim, generator=generator),
    )


def _size(config: Any) -> tuple[int, int]:
    sample = config.sample_size
    return (sample, sample) if isinstance(sample, int) else tuple(sample)


def _multiple(config: Any) -> int:
    return int(2 ** (len(config.block_out_channels) - 1))
