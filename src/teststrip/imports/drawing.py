"""ComfyUI's `workflow` (the drawing) as the graph that would run, for the nodes that matter."""

from collections.abc import Mapping
from typing import Any

# The order of a node's widgets; None: the button beside a seed.
WIDGETS: dict[str, tuple[str | None, ...]] = {
    "KSampler": ("seed", None, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", None, "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step"),
    ),
    "SamplerCustom": ("add_noise", "noise_seed", None, "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps",),
    "ExponentialScheduler": ("steps",),
    "RandomNoise": ("noise_seed", None),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "CLIPTextEncode": ("text",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "PrimitiveNode": ("value",),
}
IDLE = (2, 4)  # muted, bypassed


def as_graph(drawing: Mapping[str, Any]) -> dict[str, Any]:
    """`{id: {class_type, inputs}}`; empty where it is no drawing."""
    nodes, lines = drawing.get("nodes"), drawing.get("links")
    if not isinstance(nodes, list) or not isinstance(lines, list):
        return {}
    links = {
        line[0]: [str(line[1]), line[2]]
        for line in lines
        if isinstance(line, list) and len(line) >= 3 and isinstance(line[0], int)
    }
    return {
        str(node["id"]): {"class_type": str(node.get("type", "")), "inputs": _inputs(node, links)}
        for node in nodes
        if isinstance(node, Mapping) and "id" in node and node.get("mode") not in IDLE
    }


def _inputs(node: Mapping[str, Any], links: Mapping[int, Any]) -> dict[str, Any]:
    widgets, inputs = node.get("widgets_values"), node.get("inputs")
    out: dict[str, Any] = {}
    if isinstance(widgets, Mapping):
        out |= {str(name): value for name, value in widgets.items()}
    elif isinstance(widgets, list):
        names = WIDGETS.get(str(node.get("type", "")), ())
        out |= {name: v for name, v in zip(names, widgets, strict=False) if name is not None}
    for slot in inputs if isinstance(inputs, list) else []:
        if isinstance(slot, Mapping) and isinstance(slot.get("link"), int):
            linked = links.get(slot["link"])
            if linked is not None:
                out[str(slot.get("name", ""))] = linked
    return out
