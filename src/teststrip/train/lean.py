"""LoRA layers in fewer passes over memory, and memory that is not asked for anew each step.

peft computes `base(x) + lora_B(lora_A(x)) * scaling`: three tensors as large as the output, two
more on the way back. Here the small product is added into the base's output by the matrix product
itself, and the scale is applied where it is small. The numbers are peft's up to rounding.
Measured by benchmarks/train/speed.py.
"""

import ctypes
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from teststrip.train.adapters import ADAPTER

# malloc.h's names and numbers; 32 MiB is the most that glibc takes as mmap threshold.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = (-1, 2**30), (-2, 2**26), (-3, 2**25)


def make_lean(module: nn.Module) -> int:
    """Let every plain LoRA layer of `module` compute this way; returns how many there are.

    Layers with DoRA or dropout, and those that are no Linear, stay as peft has them.
    """
    from peft.tuners.lora.layer import Linear

    count = 0
    for layer in module.modules():
        if type(layer) is not Linear or type(layer.base_layer) is not nn.Linear:
            continue
        if layer.lora_variant or not isinstance(layer.lora_dropout[ADAPTER], nn.Identity):
            continue
        layer.forward = partial(_forward, layer)
        count += 1
    return count


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one: the kernel's page faults are saved.

    Activations are larger than what malloc keeps by itself, and a training step frees all of them.
    For the whole process; elsewhere than on Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        tune = ctypes.CDLL(None).mallopt
        for option, value in (TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD):
            tune(option, value)


def _forward(layer: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    base = layer.base_layer
    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    out: Tensor = _LoraLinear.apply(
        x, base.weight, base.bias, down, up, float(layer.scaling[ADAPTER])
    )
    return out


class _LoraLinear(torch.autograd.Function):
    """x [..., in] -> x W' + bias + scale (x A') B', with A [r, in], B [out, r]; W is frozen."""

    @staticmethod
    def forward(  # noqa: PLR0917 - all that a layer is
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = rows @ down.t()
        out = torch.nn.functional.linear(rows, weight, bias)
        out.addmm_(inner, up.t(), alpha=scale)
        ctx.save_for_backward(rows, inner, weight, down, up)
        ctx.scale = scale
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        rows, inner, weight, down, up = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        at_inner = (grad @ up).mul_(ctx.scale)
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (grad @ weight).addmm_(at_inner, down)
            x_grad = x_grad.view(*grads[0].shape[:-1], x_grad.shape[-1])
        return (
            x_grad,
            None,
            None,
            at_inner.t() @ rows,
            (grad.t() @ inner).mul_(ctx.scale),
            None,
        )
