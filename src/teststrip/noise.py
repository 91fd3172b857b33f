"""Human names of the noise schedulers, as the field uses them; no torch is imported here.

A name is a base (`dpmpp_2m`) and, where the base allows it, a sigma schedule as suffix
(`dpmpp_2m_karras`). The table gives the diffusers class and the options that make that class
behave as the name promises; `engine.noise_schedulers` builds the objects.
"""

from dataclasses import dataclass, field
from typing import Any

SPACINGS = ("leading", "linspace", "trailing")
SIGMA_SUFFIXES = ("karras", "exponential", "beta")


@dataclass(frozen=True)
class NoiseName:
    """What one base name stands for.

    `sigmas`: the class accepts use_karras_sigmas and its kin. `spacing`: it accepts a timestep
    spacing. `zero_snr`: it can rescale betas to zero terminal SNR (arXiv 2305.08891).
    `stochastic`: its step draws noise. `calls`: model calls for n steps. `a1111`: the name A1111
    writes into a picture, where it has one.
    """

    class_name: str
    options: dict[str, Any] = field(default_factory=dict)
    sigmas: bool = False
    spacing: bool = True
    zero_snr: bool = False
    stochastic: bool = False
    second_order: bool = False
    extra_calls: int = 0
    a1111: str = ""
    note: str = ""

    def calls(self, steps: int) -> int:
        """Model calls that `steps` inference steps cost."""
        return 2 * steps - 1 if self.second_order else steps + self.extra_calls


_MULTI = "DPMSolverMultistepScheduler"
NOISE_NAMES: dict[str, NoiseName] = {
    "ddim": NoiseName("DDIMScheduler", {"clip_sample": False}, zero_snr=True, a1111="DDIM"),
    "ddpm": NoiseName(
        "DDPMScheduler", {"clip_sample": False}, zero_snr=True, stochastic=True, a1111="DDPM"
    ),
    "pndm": NoiseName("PNDMScheduler", {"skip_prk_steps": True}, extra_calls=1, a1111="PLMS"),
    "lms": NoiseName("LMSDiscreteScheduler", sigmas=True, a1111="LMS"),
    "euler": NoiseName("EulerDiscreteScheduler", sigmas=True, zero_snr=True, a1111="Euler"),
    "euler_a": NoiseName(
        "EulerAncestralDiscreteScheduler", zero_snr=True, stochastic=True, a1111="Euler a"
    ),
    "heun": NoiseName("HeunDiscreteScheduler", sigmas=True, second_order=True, a1111="Heun"),
    "dpmpp_2m": NoiseName(
        _MULTI,
        {"algorithm_type": "dpmsolver++", "solver_order": 2},
        sigmas=True,
        zero_snr=True,
        a1111="DPM++ 2M",
    ),
    "dpmpp_3m": NoiseName(
        _MULTI,
        {"algorithm_type": "dpmsolver++", "solver_order": 3},
        sigmas=True,
        zero_snr=True,
    ),
    "dpmpp_2m_sde": NoiseName(
        _MULTI,
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
        sigmas=True,
        zero_snr=True,
        stochastic=True,
        a1111="DPM++ 2M SDE",
    ),
    "dpmpp_2s": NoiseName(
        "DPMSolverSinglestepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "lower_order_final": True},
        sigmas=True,
        spacing=False,
    ),
    "dpmpp_sde": NoiseName(
        "DPMSolverSDEScheduler",
        sigmas=True,
        stochastic=True,
        second_order=True,
        a1111="DPM++ SDE",
        note="its Brownian noise is seeded by the block's seed, not by the shared generator",
    ),
    "kdpm2": NoiseName("KDPM2DiscreteScheduler", sigmas=True, second_order=True, a1111="DPM2"),
    "kdpm2_a": NoiseName(
        "KDPM2AncestralDiscreteScheduler",
        sigmas=True,
        second_order=True,
        stochastic=True,
        a1111="DPM2 a",
    ),
    "deis": NoiseName(
        "DEISMultistepScheduler",
        {"algorithm_type": "deis", "solver_type": "logrho", "solver_order": 2},
        sigmas=True,
        a1111="DEIS",
    ),
    "unipc": NoiseName(
        "UniPCMultistepScheduler",
        {"solver_type": "bh2", "solver_order": 2},
        sigmas=True,
        zero_snr=True,
        a1111="UniPC",
    ),
    "lcm": NoiseName(
        "LCMScheduler", zero_snr=True, stochastic=True, a1111="LCM", note="at most 50 steps"
    ),
    "tcd": NoiseName("TCDScheduler", zero_snr=True, note="at most 50 steps"),
    "sa_solver": NoiseName("SASolverScheduler", sigmas=True, stochastic=True),
}


def split_name(name: str) -> tuple[str, str | None]:
    """Split `dpmpp_2m_karras` into (`dpmpp_2m`, `karras`). Raises KeyError for an unknown name."""
    if name in NOISE_NAMES:
        return name, None
    for suffix in SIGMA_SUFFIXES:
        base = name.removesuffix(f"_{suffix}")
        if base != name and base in NOISE_NAMES and NOISE_NAMES[base].sigmas:
            return base, suffix
    raise KeyError(name)


def noise_names() -> list[str]:
    """Every accepted name, bases first."""
    with_sigmas = [n for n, known in NOISE_NAMES.items() if known.sigmas]
    return [*NOISE_NAMES, *(f"{n}_{s}" for n in with_sigmas for s in SIGMA_SUFFIXES)]
