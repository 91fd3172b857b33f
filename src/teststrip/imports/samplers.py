"""Names of samplers in ComfyUI, SwarmUI and InvokeAI -> our noise schedulers."""

from typing import Any

from teststrip.imports.found import text
from teststrip.noise import SIGMA_SUFFIXES, split_name

# ComfyUI: comfy/samplers.py, KSAMPLER_NAMES; InvokeAI: its SCHEDULER_NAME_VALUES.
_SAME = {
    "euler_ancestral": "euler_a",
    "k_euler": "euler",
    "k_euler_a": "euler_a",
    "dpm_2": "kdpm2",
    "dpm_2_ancestral": "kdpm2_a",
    "k_dpm_2": "kdpm2",
    "k_dpm_2_a": "kdpm2_a",
    "kdpm_2": "kdpm2",
    "kdpm_2_a": "kdpm2_a",
    "k_heun": "heun",
    "k_lms": "lms",
    "k_dpmpp_2": "dpmpp_2m",
    "plms": "pndm",
    "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_sde_gpu": "dpmpp_sde",
}
_PLAIN = ("", "normal", "automatic", "uniform")


def scheduler_fields(sampler: Any, schedule: Any = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """(recipe fields, params) of a sampler and its sigma schedule; what has no name is a param."""
    name, kind = text(sampler).strip().lower(), text(schedule).strip().lower()
    if not name:
        return {}, {"sigma_schedule": kind}
    own = _SAME.get(name, name)
    if own.endswith("_k") and not kind:  # InvokeAI marks Karras so
        own, kind = _SAME.get(own[:-2], own[:-2]), "karras"
    try:
        base, suffix = split_name(own)
    except KeyError:
        return {}, {"sampler": name, "sigma_schedule": kind}
    if kind in SIGMA_SUFFIXES and suffix is None:
        try:
            split_name(f"{base}_{kind}")
        except KeyError:
            return {"scheduler": own}, {"sigma_schedule": kind}
        return {"scheduler": f"{base}_{kind}"}, {}
    if kind == "sgm_uniform":
        return {"scheduler": own, "spacing": "trailing"}, {}
    return {"scheduler": own}, {} if kind in _PLAIN else {"sigma_schedule": kind}
