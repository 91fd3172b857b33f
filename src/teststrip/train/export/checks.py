"""What was written is read back by another program's code, and must give the same numbers.

Compared are the text encoder's and the UNet's output on fixed inputs, against the checkpoint in
our own engine: `|difference| / largest |value|`, the larger of the two.
"""

from pathlib import Path
from typing import Any

import torch

from teststrip.engine.adapters import Adapters
from teststrip.engine.loading import open_pipeline, quiet_libraries
from teststrip.errors import StudyError
from teststrip.train.export.source import Source

LIMIT = 1e-4
TEXT = "a photo of a cat"
Answer = tuple[torch.Tensor, torch.Tensor]


@torch.inference_mode()
def answer(pipe: Any) -> Answer:
    """(text embedding [1, T, D], UNet output [2, C, h, w]) on fixed inputs."""
    hidden = pipe.encode_prompt(TEXT, pipe.device, 1, do_classifier_free_guidance=False)[0]
    size = pipe.unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator("cpu").manual_seed(0)
    latents = torch.randn(2, pipe.unet.config.in_channels, height, width, generator=generator)
    times = torch.tensor([700.0, 100.0])
    out = pipe.unet(latents, times, hidden.repeat(2, 1, 1), return_dict=False)[0]
    return hidden, out


def expected(source: Source) -> Answer:
    """What the checkpoint gives in our engine, at the source's scale."""
    pipe = open_pipeline(source.base, torch.float32, torch.device("cpu"))
    Adapters(pipe).use([source.adapter])
    return answer(pipe)


def read_by_diffusers(source: Source, file: Path) -> Answer:
    """What diffusers makes of a LoRA file, by its own loader on its own pipeline."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )

    with quiet_libraries():
        pipe = StableDiffusionPipeline.from_pretrained(
            str(source.base),
            dtype=torch.float32,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            local_files_only=True,
        )
        pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="one")
        pipe.set_adapters(["one"], [1.0])
    return answer(pipe)


def read_merged(folder: Path) -> Answer:
    """What the merged model gives."""
    return answer(open_pipeline(folder, torch.float32, torch.device("cpu")))


def compare(what: str, wanted: Answer, got: Answer, limit: float = LIMIT) -> float:
    """The largest relative difference. Raises StudyError above `limit`."""
    gap = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(wanted, got, strict=True))
    if not gap <= limit:
        raise StudyError(
            f"{what}: read back it gives other numbers than the checkpoint (difference {gap:.2g} "
            f"of the largest value, accepted {limit:.0e}); it was not written"
        )
    return gap
