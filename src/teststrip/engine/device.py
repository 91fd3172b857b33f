"""The device images are made on: which one, in which precision, and what to note about it."""

import platform
from importlib.metadata import version
from typing import Any

import torch

from teststrip.errors import ConfigError
from teststrip.recipe import Dtype

TORCH_DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def find(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU. Raises ConfigError for a device that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as exc:
        raise ConfigError(
            f"device {name!r}: not available here ({str(exc).splitlines()[0]}); "
            "accepted: auto, cpu, cuda, cuda:1, mps"
        ) from exc
    return device


def pick_dtype(asked: str, device: torch.device) -> Dtype:
    """`auto`: bf16 where the hardware computes in it (measured: docs/benchmarks.md), else fp32
    on a CPU and fp16 on a GPU."""
    if asked != "auto":
        return asked  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu" and _cpu_computes_bf16():
        return "bf16"
    return "fp32"


def named(asked: str) -> str:
    """`cpu`, or a GPU with its name. Raises ConfigError as `find` does."""
    device = find(asked)
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def trains_in(asked: str) -> Dtype:
    """bf16 on a CUDA GPU that has it. On a CPU fp32: bf16 is slower there to train with."""
    is_cuda = find(asked).type == "cuda"
    return "bf16" if is_cuda and torch.cuda.is_bf16_supported() else "fp32"


def same_threads() -> None:
    """Say outright how many threads there are: what MKL picks by itself may change with the load.

    Measured: with 1 or with 2 threads a training is the same bits each time, but not the same bits
    as with the other number; a project's lock records keep it.
    """
    torch.set_num_threads(torch.get_num_threads())


def prepare(device: torch.device, *, deterministic: bool) -> None:
    """Kernel choices. Deterministic: no autotuning, which may pick other kernels per process."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cudnn.deterministic = deterministic


def facts(device: torch.device) -> dict[str, Any]:
    """What re-making a picture needs to know of this machine; the same text in every process."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    packages = {name: version(name) for name in ("teststrip", "torch", "diffusers")}
    return {"device": device.type, "hardware": gpu, "versions": packages}


def _cpu_computes_bf16() -> bool:
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return bool(has_bf16) and capability.startswith("AVX512")
