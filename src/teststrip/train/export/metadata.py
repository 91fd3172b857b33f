"""What a LoRA file says of itself: sd-scripts' `ss_*`, Stability's `modelspec.*`, and ours.

A1111-style programs show `ss_*` and find files by the `sshs_*` hashes; modelspec 1.0.1 is what
ComfyUI, SwarmUI and others show (github.com/Stability-AI/ModelSpec).
"""

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from teststrip.train.export.source import Source, captions
from teststrip.train.tensor_file import tensor_bytes

THUMBNAIL_PX = 256


def metadata(
    source: Source, tensors: Mapping[str, torch.Tensor], unet: Any, scheduler: Any, alpha: float
) -> dict[str, str]:
    """All of it as strings. `unet`, `scheduler`: configs of the base model."""
    ranks = Counter(t.shape[0] for name, t in tensors.items() if name.endswith("lora_down.weight"))
    rank = ranks.most_common(1)[0][0]
    resolution = _size(source, unet)
    ss = _ss(source, unet, rank, alpha, resolution)
    model_hash, legacy = _sshs(tensors, ss)
    return (
        ss
        | {"sshs_model_hash": model_hash, "sshs_legacy_hash": legacy}
        | _modelspec(source, tensors, unet, scheduler, resolution)
        | lineage(source)
    )


def lineage(source: Source) -> dict[str, str]:
    """Ours: where the file comes from."""
    base = source.meta.get("base") or {}
    known = {
        "run": source.name,
        "step": source.step,
        "scale": source.scale,
        "base_model": base.get("model"),
        "base_revision": base.get("revision"),
        "base_fingerprint": base.get("fingerprint"),
        "weights_sha256": source.adapter.digest,
        "dataset_hash": source.meta.get("dataset_hash"),
        "trigger": source.trigger,
        "commit": source.meta.get("commit"),
        "chosen": source.chosen,
    }
    return {
        f"teststrip.{key}": str(value) for key, value in known.items() if value not in (None, "")
    }


def _ss(
    source: Source, unet: Any, rank: int, alpha: float, resolution: tuple[int, int]
) -> dict[str, str]:
    config = source.config
    optimizer, rate = config.get("optimizer") or {}, config.get("rate") or {}
    loss, lora = config.get("loss") or {}, config.get("lora") or {}
    base = source.meta.get("base") or {}
    texts = captions(source)
    tags = Counter(tag.strip() for text in texts for tag in text.split(",") if tag.strip())
    known: dict[str, Any] = {
        "ss_output_name": source.stem,
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": alpha,
        "ss_network_dropout": lora.get("dropout"),
        "ss_sd_model_name": base.get("model"),
        "ss_base_model_version": _VERSION.get(_family(unet)),
        "ss_v2": _family(unet) == "v2",
        "ss_resolution": f"({resolution[0]}, {resolution[1]})",
        "ss_clip_skip": None,
        "ss_num_train_images": len(texts) or None,
        "ss_steps": source.step,
        "ss_max_train_steps": config.get("steps"),
        "ss_total_batch_size": config.get("batch"),
        "ss_gradient_accumulation_steps": config.get("accumulate"),
        "ss_learning_rate": optimizer.get("lr"),
        "ss_unet_lr": optimizer.get("lr"),
        "ss_text_encoder_lr": optimizer.get("text_encoder_lr"),
        "ss_optimizer": optimizer.get("name"),
        "ss_lr_scheduler": rate.get("name"),
        "ss_lr_warmup_steps": rate.get("warm_up"),
        "ss_mixed_precision": {"fp32": "no"}.get(
            str(config.get("precision")), config.get("precision")
        ),
        "ss_seed": config.get("seed"),
        "ss_max_grad_norm": config.get("clip"),
        "ss_min_snr_gamma": loss.get("snr_gamma"),
        "ss_noise_offset": loss.get("noise_offset"),
        "ss_caption_dropout_rate": loss.get("caption_dropout"),
        "ss_prior_loss_weight": (config.get("subject") or {}).get("prior_weight"),
        "ss_tag_frequency": json.dumps({source.name: dict(sorted(tags.items()))}) if tags else None,
        "ss_training_comment": f"trigger: {source.trigger}" if source.trigger else None,
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def _modelspec(
    source: Source,
    tensors: Mapping[str, torch.Tensor],
    unet: Any,
    scheduler: Any,
    resolution: tuple[int, int],
) -> dict[str, str]:
    is_v = scheduler.get("prediction_type") == "v_prediction"
    family = _family(unet)
    architecture = {"v1": "stable-diffusion-v1", "v2": "stable-diffusion-v2-512"}.get(family)
    if family == "v2" and is_v:
        architecture = "stable-diffusion-v2-768-v"
    base = source.meta.get("base") or {}
    known = {
        "sai_model_spec": "1.0.1",
        # The spec names known models only; another one says which family it is of.
        "architecture": f"{architecture or 'stable-diffusion'}/lora",
        "implementation": "diffusers",
        "title": source.stem,
        "description": f"LoRA of {base.get('model')}, step {source.step}; {source.chosen}",
        "date": str(source.run.get("changed") or source.run.get("created") or ""),
        "hash_sha256": _tensor_hash(tensors),
        "resolution": f"{resolution[0]}x{resolution[1]}",
        "prediction_type": "v" if is_v else "epsilon",
        "trigger_phrase": source.trigger,
        "usage_hint": f"write: {source.trigger}" if source.trigger else "",
        "thumbnail": _thumbnail(source),
    }
    return {f"modelspec.{key}": value for key, value in known.items() if value}


_VERSION = {"v1": "sd_v1", "v2": "sd_v2"}


def _family(unet: Any) -> str:
    """`v1`, `v2`, or empty for a model of another size than Stability's."""
    is_theirs = tuple(unet.get("block_out_channels", ())) == (320, 640, 1280, 1280)
    return {768: "v1", 1024: "v2"}.get(unet.get("cross_attention_dim"), "") if is_theirs else ""


def _size(source: Source, unet: Any) -> tuple[int, int]:
    """Width and height that were trained at, px."""
    if size := (source.config.get("data") or {}).get("size"):
        return int(size[0]), int(size[1])
    sample = unet.get("sample_size")
    height, width = (sample, sample) if isinstance(sample, int) else sample
    factor = json.loads((source.base / "vae" / "config.json").read_text())["block_out_channels"]
    scale = 2 ** (len(factor) - 1)
    return width * scale, height * scale


def _sshs(tensors: Mapping[str, torch.Tensor], ss: Mapping[str, str]) -> tuple[str, str]:
    """The two hashes of sd-webui-additional-networks: of the tensors, and of 64 kB at 1 MB."""
    data = tensor_bytes(tensors, ss)
    length = int.from_bytes(data[:8], "little")
    new = hashlib.sha256(data[8 + length :]).hexdigest()
    return new, hashlib.sha256(data[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]


def _tensor_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    total = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"0x{total.hexdigest()}"


def _thumbnail(source: Source) -> str:
    """The checkpoint's first validation image as a data URL; empty where there is none."""
    pictures = sorted((source.folder.samples / str(source.step)).glob("*.png"))
    if not pictures:
        return ""
    out = io.BytesIO()
    with Image.open(pictures[0]) as picture:
        small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
