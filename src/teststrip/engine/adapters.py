"""LoRA adapters of a pipeline: loaded once by content, switched between forwards."""

import warnings
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from teststrip.engine import lora_file
from teststrip.engine.adapter_files import Adapter
from teststrip.engine.lora_file import PARTS, LoraLayer, LoraWeights
from teststrip.errors import ModelError


class Adapters:
    """Which adapters a diffusers pipeline has loaded and which are active.

    At most `keep` stay loaded, or as many as one recipe asks for; who was not used longest goes.
    Loading is our own (peft's parts under it): diffusers leaves out DoRA's magnitudes in a text
    encoder, and takes keys that it does not know with no more than a log line.
    """

    def __init__(self, pipe: Any, keep: int = 8) -> None:
        self._keep = keep
        self._models = {part: getattr(pipe, part) for part in PARTS if getattr(pipe, part, None)}
        self._names = {
            part: {
                name.removeprefix("text_model."): name
                for name, module in model.named_modules()
                if isinstance(module, nn.Linear | nn.Conv2d)
            }
            for part, model in self._models.items()
        }
        self._loaded: OrderedDict[str, str] = OrderedDict()
        self._active: tuple[Adapter, ...] | None = ()
        self._count = 0

    @property
    def loaded(self) -> list[str]:
        """Digests of the adapters in memory, who was used longest ago first."""
        return list(self._loaded)

    @torch.inference_mode(mode=False)
    def use(self, adapters: Sequence[Adapter]) -> None:
        """Activate exactly these. Raises ModelError for a file that is no LoRA of this model."""
        wanted = tuple(adapters)
        if wanted == self._active:
            return
        self._active = None  # peft activates what it loads: after a fault nothing can be assumed
        scales: dict[str, float] = {}
        for adapter in wanted:
            name = self._load(adapter)
            scales[name] = scales.get(name, 0.0) + adapter.scale
        for model in self._models.values():
            _activate(model, scales)
        self._drop(keep=set(scales))
        self._active = wanted

    def _load(self, adapter: Adapter) -> str:
        if adapter.digest not in self._loaded:
            what = f"LoRA {adapter.path}"
            weights = lora_file.parse(adapter.read(), what, self._names)
            self._check(weights, what)
            self._count += 1
            name = f"lora{self._count}"
            for part, layers in weights.layers.items():
                named = {self._names[part][bare]: layer for bare, layer in layers.items()}
                _inject(self._models[part], named, name, what)
            self._loaded[adapter.digest] = name
        self._loaded.move_to_end(adapter.digest)
        return self._loaded[adapter.digest]

    def _check(self, weights: LoraWeights, what: str) -> None:
        """Every layer is in this model, and takes and gives as many numbers as the adapter's."""
        faults = []
        count = len(weights.every)
        for part, layers in weights.layers.items():
            for bare, layer in layers.items():
                if fault := self._fault(part, bare, layer):
                    faults.append(f"{part}.{bare} {fault}")
        if faults:
            raise ModelError(
                f"{what}: is for another architecture: {len(faults)} of its {count} layers do not "
                f"fit this model (first: {faults[0]})"
            )

    def _fault(self, part: str, bare: str, layer: LoraLayer) -> str:
        name = self._names.get(part, {}).get(bare)
        if name is None:
            return "is no layer here"
        module = self._models[part].get_submodule(name)
        base = module.base_layer if isinstance(module, BaseTunerLayer) else module
        size_in, size_out = base.weight.shape[1], base.weight.shape[0]
        got = layer.down.shape[1], layer.up.shape[0]
        if got != (size_in, size_out):
            return (
                f"has {size_in} inputs and {size_out} outputs, the adapter's {got[0]} and {got[1]}"
            )
        return ""

    def _drop(self, keep: set[str]) -> None:
        for digest, name in list(self._loaded.items()):
            if len(self._loaded) <= self._keep:
                return
            if name not in keep:
                del self._loaded[digest]
                for model in self._models.values():
                    _delete(model, name)


def _inject(model: Any, layers: Mapping[str, LoraLayer], name: str, what: str) -> None:
    """Load the layers (by module name) as peft adapter `name`; nothing stays of one that fails."""
    ranks = {module: layer.rank for module, layer in layers.items()}
    alphas = {module: layer.alpha for module, layer in layers.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        rank_pattern={f"^{m}": r for m, r in ranks.items() if r != rank},
        alpha_pattern={f"^{m}": a for m, a in alphas.items() if a != alpha},
        target_modules=list(layers),
        use_dora=any(layer.magnitude is not None for layer in layers.values()),
        inference_mode=True,
    )
    tensors = {}
    for module, layer in layers.items():
        like = _base(model.get_submodule(module)).weight
        parts = {"lora_A.weight": layer.down, "lora_B.weight": layer.up}
        if layer.magnitude is not None:
            parts["lora_magnitude_vector"] = layer.magnitude
        for kind, tensor in parts.items():
            shaped = tensor if kind == "lora_magnitude_vector" else _shaped(tensor, like.ndim)
            tensors[f"{module}.{kind}"] = shaped.to(like.device, like.dtype)
    try:
        with warnings.catch_warnings():
            # It warns of several adapters in a model, which is what is wanted here.
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            # On the meta device: no random numbers are drawn for weights that come from a file.
            inject_adapter_in_model(config, model, name, low_cpu_mem_usage=True, state_dict=tensors)
        set_peft_model_state_dict(model, tensors, name, low_cpu_mem_usage=True)
    except Exception as exc:
        # peft raises many kinds; all mean the same here.
        _delete(model, name)
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ModelError(f"{what}: cannot be loaded into this model: {reason}") from exc


def _activate(model: Any, scales: Mapping[str, float]) -> None:
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            here = [name for name in scales if name in module.lora_A]
            module.enable_adapters(bool(here))
            module.set_adapter(here, inference_mode=True)
            for name in here:
                module.set_scale(name, scales[name])


def _delete(model: Any, name: str) -> None:
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.delete_adapter(name)
    getattr(model, "peft_config", {}).pop(name, None)


def _base(module: Any) -> Any:
    return module.base_layer if isinstance(module, BaseTunerLayer) else module


def _shaped(tensor: torch.Tensor, ndim: int) -> torch.Tensor:
    """A 1 x 1 convolution as a linear layer's weight, or the other way round."""
    if tensor.ndim == 4 and ndim == 2 and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor[:, :, None, None] if tensor.ndim == 2 and ndim == 4 else tensor
