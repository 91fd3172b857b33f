"""The peers: the plain diffusers pipeline, one by one and in list batches of equal recipes."""

from collections import defaultdict
from typing import Any

import torch

from teststrip import Recipe, Request, png
from teststrip.engine.noise_schedulers import build


def call(pipe: Any, requests: list[Request]) -> list[bytes]:
    """One pipeline call for requests of one recipe; PNG bytes, as the engine gives."""
    recipe = requests[0].recipe
    kept = pipe.scheduler
    pipe.scheduler = build(requests[0], kept.config, pipe.device)
    try:
        images = pipe(
            [request.text for request in requests],
            negative_prompt=[recipe.negative_prompt] * len(requests),
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            guidance_rescale=recipe.rescale,
            width=recipe.width,
            height=recipe.height,
            generator=[torch.Generator("cpu").manual_seed(r.block.seed) for r in requests],
        ).images
    finally:
        pipe.scheduler = kept
    return [png.write(image, r, {}) for image, r in zip(images, requests, strict=True)]


def one_by_one(pipe: Any, requests: list[Request]) -> int:
    """Every request alone."""
    return sum(len(call(pipe, [request])) for request in requests)


def grouped(pipe: Any, requests: list[Request], max_rows: int) -> int:
    """Equal recipes share a call, at most `max_rows` rows in one."""
    groups: dict[Recipe, list[Request]] = defaultdict(list)
    for request in requests:
        groups[request.recipe].append(request)
    made = 0
    for recipe, group in groups.items():
        size = max_rows // (2 if recipe.guided else 1)
        for start in range(0, len(group), size):
            made += len(call(pipe, group[start : start + size]))
    return made
