"""Write the shipped folders: a stock StableDiffusionPipeline and a stock CLIPModel, fp16."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from builtin_model.captions import FILLERS, HELD_OUT_FORMS, STYLE_WORDS, TRAINING_FORMS
from builtin_model.clip import load_clip
from builtin_model.latents import load_white_vae
from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, SIZES
from builtin_model.text import load_text
from builtin_model.unet import NOISE, load_unet

SHIPPED = Path(__file__).parents[1] / "src" / "teststrip" / "models"
FONT_COPYRIGHT = Path("/usr/share/doc/fonts-noto-color-emoji/copyright")
DEFAULT_RECIPE = {
    "scheduler": "dpmpp_2m",
    "steps": 12,
    "guidance": 2.0,
    "width": 64,
    "height": 64,
}
PREPROCESSING = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": 64, "width": 64},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def build_pipeline(work: Path, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    """The stock pipeline in fp32, with the default noise scheduler."""
    scheduler = DPMSolverMultistepScheduler(
        **NOISE, timestep_spacing="trailing", algorithm_type="dpmsolver++", solver_order=2
    )
    scheduler.register_to_config(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return StableDiffusionPipeline(
        vae=load_white_vae(work),
        text_encoder=load_text(work, tokenizer),
        tokenizer=tokenizer,
        unet=load_unet(work),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def metadata() -> dict[str, Any]:
    """teststrip.json: the default recipe and the words the model knows."""
    return {
        "default_recipe": DEFAULT_RECIPE,
        "name": "builtin",
        "licence": "Apache-2.0 weights; drawings: Noto Emoji, SIL OFL 1.1",
        "max_tokens": 32,
        "objects": NAMES,
        "backgrounds": list(BACKGROUNDS),
        "styles": [word for words in STYLE_WORDS.values() for word in words],
        "sizes": list(SIZES),
        "caption_forms": TRAINING_FORMS,
        "held_out_caption_forms": HELD_OUT_FORMS,
        "other_words": sorted(set(FILLERS)),
    }


def swap_in(part: Path, target: Path) -> None:
    """Put a finished folder in place of the old one (two renames)."""
    for file in part.rglob("*.safetensors"):
        file.chmod(0o644)
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(part, target)
    shutil.rmtree(old, ignore_errors=True)


def export_pipeline(work: Path, tokenizer: CLIPTokenizer) -> Path:
    """Write models/builtin, keeping its hand-written README.md."""
    target, part = SHIPPED / "builtin", SHIPPED / ".builtin.part"
    shutil.rmtree(part, ignore_errors=True)
    pipe = build_pipeline(work, tokenizer)
    for network in (pipe.vae, pipe.text_encoder, pipe.unet):
        network.half()
    pipe.save_pretrained(part)
    (part / "teststrip.json").write_text(json.dumps(metadata(), indent=1) + "\n")
    card = Path(__file__).parent / "model_card.md"
    shutil.copy(card, part / "README.md")
    swap_in(part, target)
    shutil.copy(FONT_COPYRIGHT, SHIPPED / "LICENSE-NOTO-EMOJI")
    return target


def export_clip(work: Path, tokenizer: CLIPTokenizer) -> Path:
    """Write models/clip_small with tokenizer and preprocessor_config.json."""
    target, part = SHIPPED / "clip_small", SHIPPED / ".clip_small.part"
    shutil.rmtree(part, ignore_errors=True)
    load_clip(work, tokenizer).half().save_pretrained(part)
    tokenizer.save_pretrained(part)
    (part / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=1) + "\n")
    swap_in(part, target)
    return target
