"""ComfyUI: walk its graph back from the sampler to text, model, size and noise.

`prompt` is the graph as it ran: `{id: {class_type, inputs}}`, an input is a value or `[id, slot]`.
`workflow` is the drawing; it is read (see `drawing`) only where there is no `prompt`. Where images
pass several samplers (a hires fix), the first of them made the picture what it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from teststrip.imports.found import Found, made
from teststrip.imports.samplers import scheduler_fields

TOOL = "ComfyUI"
MOST_NODES = 5000
SAMPLERS = {"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"}
TEXTS = (
    "text",
    "text_g",
    "text_l",
    "clip_l",
    "t5xxl",
    "prompt",
    "string",
    "value",
    "wildcard_text",
)
LATENTS = ("latent_image", "latent", "samples")
Node = Mapping[str, Any]


def read(data: Mapping[str, Any]) -> Found | None:
    """None where the JSON is no graph with a sampler in it."""
    graph = Graph(data)
    samplers = [node_id for node_id in graph.nodes if graph.is_sampler(node_id)]
    first = [s for s in samplers if not graph.samplers_before(s)] or samplers
    if not first:
        return None
    return _sampled(graph, first[0], len(samplers))


class Graph:
    """The nodes by id; every walk stops at a node it has seen."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        nodes = list(data.items())[:MOST_NODES]
        self.nodes: dict[str, Node] = {
            str(k): v
            for k, v in nodes
            if isinstance(v, Mapping) and isinstance(v.get("inputs"), Mapping)
        }

    def kind(self, node_id: str) -> str:
        """Its class."""
        return str(self.nodes[node_id].get("class_type", ""))

    def inputs(self, node_id: str) -> Node:
        """Its inputs by name."""
        found: Node = self.nodes[node_id]["inputs"]
        return found

    def is_sampler(self, node_id: str) -> bool:
        """One of ComfyUI's, or another's that takes the same."""
        names = set(self.inputs(node_id))
        return self.kind(node_id) in SAMPLERS or (
            {"steps", "cfg", "positive"} <= names and bool({"seed", "noise_seed"} & names)
        )

    def source(self, value: Any) -> tuple[str, int] | None:
        """The node and slot that an input is linked to."""
        if isinstance(value, list) and len(value) == 2 and str(value[0]) in self.nodes:
            return str(value[0]), value[1] if isinstance(value[1], int) else 0
        return None

    def samplers_before(self, node_id: str) -> bool:
        """Does its latent come out of another sampler?"""
        starts = [self.inputs(node_id).get(name) for name in LATENTS]
        return any(self.is_sampler(n) for value in starts for n in self.up(value))

    def up(self, value: Any) -> Iterator[str]:
        """All nodes behind an input, near ones first."""
        seen: dict[str, None] = {}
        waiting = [value]
        while waiting:
            found = self.source(waiting.pop(0))
            if found and found[0] not in seen:
                seen[found[0]] = None
                yield found[0]
                waiting.extend(self.inputs(found[0]).values())

    def value(self, node_id: str, name: str, deep: int = 16) -> Any:
        """A value, through nodes that only hand one on."""
        value = self.inputs(node_id).get(name)
        found = self.source(value)
        if found is None or not deep:
            return None if isinstance(value, list) else value
        for other in (name, "value", "seed", "noise_seed", "int", "float", "number", *TEXTS):
            if other in self.inputs(found[0]):
                return self.value(found[0], other, deep - 1)
        return None

    def behind(self, value: Any, *names: str) -> Any:
        """The first value of one of these names behind an input."""
        for node_id in self.up(value):
            for name in names:
                if name in self.inputs(node_id):
                    found = self.value(node_id, name)
                    if found is not None:
                        return found
        return None

    def words(self, value: Any, side: str, seen: set[str]) -> list[str]:
        """The prompts behind a conditioning. `side`: which half of nodes that carry both."""
        found = self.source(value)
        if found is None or found[0] in seen:
            return []
        node_id = found[0]
        seen.add(node_id)
        inputs = self.inputs(node_id)
        if {"positive", "negative"} <= set(inputs):
            return self.words(inputs[side], side, seen)
        own = [self.value(node_id, name) for name in TEXTS if name in inputs]
        own = [text for text in own if isinstance(text, str) and text.strip()]
        if own and ("clip" in inputs or "Encode" in self.kind(node_id)):
            return list(dict.fromkeys(own))
        if "ZeroOut" in self.kind(node_id):
            return []
        return [text for v in inputs.values() for text in self.words(v, side, seen)] or own[:1]


def _sampled(graph: Graph, sampler: str, samplers: int) -> Found:
    inputs = graph.inputs(sampler)
    guider = graph.source(inputs.get("guider"))
    terms = graph.inputs(guider[0]) if guider else inputs
    holder = guider[0] if guider else sampler
    positive = terms.get("positive", terms.get("conditioning"))
    negative = terms.get("negative")
    model = terms.get("model", inputs.get("model"))
    latent = next((inputs[name] for name in LATENTS if name in inputs), None)
    seed = _own(graph, sampler, "seed", "noise_seed")
    seed = graph.behind(inputs.get("noise"), "noise_seed", "seed") if seed is None else seed
    name = _own(graph, sampler, "sampler_name") or graph.behind(
        inputs.get("sampler"), "sampler_name"
    )
    sigmas = inputs.get("sigmas")
    schedule = _own(graph, sampler, "scheduler") or graph.behind(sigmas, "scheduler")
    if schedule is None and (link := graph.source(sigmas)):
        schedule = graph.kind(link[0]).removesuffix("Scheduler").lower()
    steps = _own(graph, sampler, "steps")
    named, more = scheduler_fields(name, schedule)
    clip = graph.source(positive)
    layer = graph.behind([clip[0], 0], "stop_at_clip_layer") if clip else None
    fields = {
        "model": graph.behind(model, "ckpt_name", "unet_name", "model_name"),
        "loras": _loras(graph, model),
        "steps": steps if steps is not None else graph.behind(sigmas, "steps"),
        "guidance": graph.value(holder, "cfg"),
        "width": graph.behind(latent, "width"),
        "height": graph.behind(latent, "height"),
        "negative_prompt": ", ".join(graph.words(negative, "negative", set())),
        "clip_skip": -int(layer) - 1 if isinstance(layer, int) and layer < 0 else None,
    }
    denoise = _own(graph, sampler, "denoise")
    params = {
        "denoise": denoise if denoise is not None else graph.behind(sigmas, "denoise"),
        "distilled_guidance": graph.behind(positive, "guidance"),
        "samplers": samplers if samplers > 1 else None,
    }
    params = {k: v for k, v in (params | more).items() if v not in (None, 1, 1.0)}
    words = ", ".join(graph.words(positive, "positive", set()))
    return made(TOOL, words, seed, fields | named, params)


def _own(graph: Graph, node_id: str, *names: str) -> Any:
    found = (graph.value(node_id, name) for name in names if name in graph.inputs(node_id))
    return next((value for value in found if value is not None), None)


def _loras(graph: Graph, model: Any) -> list[dict[str, Any]]:
    found = []
    for node_id in graph.up(model):
        name = graph.value(node_id, "lora_name")
        if isinstance(name, str):
            scale = graph.value(node_id, "strength_model")
            found.append({"path": name, "scale": 1.0 if scale is None else scale})
    return found[::-1]  # in the order in which they act
