"""Optimizers by name, and their state as tensors and numbers (safetensors and JSON, no pickle)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from teststrip.errors import ConfigError, MissingExtra
from teststrip.train.adapters import Weights
from teststrip.train.config import Optimizer

FIXED = ("params", "lr")  # set by the run, not by the state


def build(config: Optimizer, weights: Sequence[Weights]) -> Any:
    """The optimizer over the flat weights; each group remembers its rate as `base_lr`.

    Raises MissingExtra where its package is not installed, ConfigError for what it cannot do.
    """
    rates = {"unet": config.lr, "text_encoder": config.text_encoder_lr or config.lr}
    groups: list[dict[str, Any]] = [
        {"params": [w.flat], "lr": rates[w.part], "base_lr": rates[w.part]} for w in weights
    ]
    same = {"betas": config.betas, "eps": config.eps, "weight_decay": config.weight_decay}
    if config.name == "adamw":
        return torch.optim.AdamW(groups, fused=True, **same)
    try:
        if config.name == "adamw8bit":
            from bitsandbytes.optim import AdamW8bit

            return AdamW8bit(groups, **same)
        from prodigyopt import Prodigy
    except ImportError as exc:
        raise MissingExtra(f"optimizer {config.name!r}", "optimizers") from exc
    if len({group["lr"] for group in groups}) > 1:
        raise ConfigError(
            "optimizer: prodigy finds one rate for all; leave text_encoder_lr out or give the "
            f"same as lr (got {config.text_encoder_lr} and {config.lr})"
        )
    # As diffusers' scripts set it up.
    return Prodigy(groups, use_bias_correction=True, safeguard_warmup=True, **same)


def set_rate(optimizer: Any, factor: float) -> float:
    """Every group's base rate times `factor`; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


def state_of(optimizer: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors by path, everything else) of an optimizer's state."""
    whole = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers = _split(whole["state"], "", tensors)
    groups = [{k: v for k, v in g.items() if k not in FIXED} for g in whole["param_groups"]]
    return tensors, {"state": numbers, "groups": groups}


def load_state(optimizer: Any, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Give an optimizer back what `state_of` took, bit for bit."""
    state: dict[Any, Any] = {int(key): value for key, value in numbers["state"].items()}
    for path, tensor in tensors.items():
        first, *rest = path.split("/")
        here = state.setdefault(int(first), {})
        for key in rest[:-1]:
            here = here.setdefault(key, {})
        here[rest[-1]] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    for group, kept in zip(groups, numbers["groups"], strict=True):
        group.update(
            (k, tuple(v) if isinstance(v, list) else v) for k, v in kept.items() if k != "base_lr"
        )
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _split(node: Mapping[Any, Any], path: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Move the tensors of a nested dict into `tensors`; what is left can be written as JSON."""
    left: dict[str, Any] = {}
    for key, value in node.items():
        at = f"{path}/{key}" if path else str(key)
        if isinstance(value, Tensor):
            tensors[at] = value
        else:
            left[str(key)] = _split(value, at, tensors) if isinstance(value, Mapping) else value
    return left
