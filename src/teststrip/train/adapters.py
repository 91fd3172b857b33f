"""The weights that are trained: LoRA by peft, kept in one flat fp32 tensor per learning rate.

One tensor means one kernel for the optimizer, the norm, the moving average and the reduction over
processes, however many layers there are. Where the model computes in bf16 or fp16 the layers hold
copies in that precision and the flat tensor stays fp32: no autocast is needed.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from teststrip.errors import ConfigError
from teststrip.train.config import Lora
from teststrip.train.model import Trainable

ADAPTER = "default"
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


class Weights:
    """The trainable weights of one part (`unet`, `text_encoder`).

    `flat`: fp32 leaf with gradient. `params` are views of it, or of `shadow` in the model's dtype.
    """

    def __init__(self, part: str, module: Any) -> None:
        self.part = part
        self.module = module
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.params = [param for _, param in named]
        with torch.no_grad():
            joined = torch.cat([param.detach().float().flatten() for param in self.params])
        dtype = module.dtype
        self.flat = torch.nn.Parameter(joined)
        self.flat.grad = torch.zeros_like(joined)
        self.shadow = joined if dtype == torch.float32 else joined.to(dtype)
        self._grads = self.flat.grad if dtype == torch.float32 else torch.zeros_like(self.shadow)
        if dtype == torch.float32:
            self.shadow = self.flat.data
        shapes = [param.shape for param in self.params]
        for param, values, grad in zip(
            self.params, _views(self.shadow, shapes), _views(self._grads, shapes), strict=True
        ):
            param.data = values
            param.grad = grad

    def gather_grads(self) -> None:
        """Add what the last backward pass left to `flat.grad`. Call it after each one."""
        if self._grads is not self.flat.grad:
            self.flat.grad.add_(self._grads)
            self._grads.zero_()

    def publish(self) -> None:
        """Bring a changed `flat` into the layers."""
        if self.shadow.data_ptr() != self.flat.data_ptr():
            self.shadow.copy_(self.flat.detach())

    def named(self) -> dict[str, Tensor]:
        """fp32 views by name, for checkpoints."""
        shapes = [param.shape for param in self.params]
        return dict(zip(self.names, _views(self.flat.detach(), shapes), strict=True))

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `named` gave."""
        with torch.no_grad():
            self.flat.copy_(torch.cat([tensors[name].float().flatten() for name in self.names]))
        self.publish()


def attach(model: Trainable, lora: Lora, seed: int) -> list[Weights]:
    """Put fresh LoRA layers into the model and return their weights, the UNet's first.

    Initialised from `seed` alone; the process's generators are left as they were. Raises
    ConfigError where `targets` name no layer of this model.
    """
    from peft.utils.error import NoMatchingPeftModuleError

    wanted: list[tuple[str, Any, tuple[str, ...]]] = [("unet", model.unet, lora.targets)]
    if lora.text_encoder:
        wanted.append(("text_encoder", model.text_encoder, TEXT_TARGETS))
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, module, targets in wanted:
            try:
                module.add_adapter(_config(lora, targets), ADAPTER)
            except (NoMatchingPeftModuleError, ValueError) as exc:
                raise ConfigError(
                    f"lora.targets {', '.join(targets)}: peft cannot adapt these layers of the "
                    f"{part}: {str(exc).splitlines()[0]}"
                ) from exc
            module.peft_config[ADAPTER].base_model_name_or_path = None  # a path of this machine
            found.append(Weights(part, module))
    return found


def detach(model: Trainable) -> None:
    """Take the layers out again: the base model, as it was opened."""
    for module in (model.unet, model.text_encoder):
        if ADAPTER in (getattr(module, "peft_config", None) or {}):
            with torch.no_grad():
                module.delete_adapters(ADAPTER)


def exported(weights: list[Weights]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(weights by peft's names below their part, peft's configs): what diffusers loads.

    All by one kind of name: diffusers' own conversion renames attention layers alone, and its
    loader, which looks at the first name of a file, then leaves either those or all others out.
    """
    from peft.utils.save_and_load import get_peft_model_state_dict

    tensors: dict[str, Tensor] = {}
    configs: dict[str, Any] = {}
    for each in weights:
        own = get_peft_model_state_dict(each.module, each.named(), adapter_name=ADAPTER)
        tensors |= {f"{each.part}.{name}": tensor for name, tensor in own.items()}
        config = each.module.peft_config[ADAPTER].to_dict()
        configs |= {f"{each.part}.{key}": value for key, value in config.items()}
    return tensors, configs


def _config(lora: Lora, targets: tuple[str, ...]) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.strength,
        lora_dropout=lora.dropout,
        init_lora_weights="gaussian",
        target_modules=list(targets),
        use_dora=lora.dora,
        use_rslora=lora.rslora,
    )


def _views(flat: Tensor, shapes: list[torch.Size]) -> list[Tensor]:
    parts = flat.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
