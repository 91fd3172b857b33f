"""Files as the tools write them: real PNG, JPEG and WebP with the metadata layouts of each."""

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

A1111_TEXT = (
    "a red fox in the snow, <lora:ink:0.8>\nsharp\nNegative prompt: blurry, low quality\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, "
    "Size: 64x48, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, "
    'Lora hashes: "ink: aaaa1111", Version: v1.10.1'
)
SWARM = {
    "sui_image_params": {
        "prompt": "a 30 year old woman",
        "model": "Flux/flux1-dev-fp8",
        "seed": 2042464333,
        "steps": 25,
        "cfgscale": 1.0,
        "aspectratio": "Custom",
        "width": 512,
        "height": 768,
        "sampler": "euler",
        "scheduler": "normal",
        "nopreviews": True,
        "wildcardseed": 17,
        "imageformat": "JPG",
        "vae": "ae.sft",
        "negativeprompt": "",
        "swarm_version": "0.9.1.1",
        "date": "2024-08-07",
        "generation_time": "106.17 (prep) and 35.75 (gen) seconds",
    }
}
INVOKE = {
    "app_version": "3.3.0post3",
    "generation_mode": "txt2img",
    "positive_prompt": "landscape",
    "negative_prompt": "low quality",
    "width": 768,
    "height": 432,
    "seed": 356120443,
    "rand_device": "cpu",
    "cfg_scale": 7.5,
    "steps": 50,
    "scheduler": "dpmpp_2m_sde_k",
    "clip_skip": 0,
    "model": {"model_name": "amixx", "base_model": "sd-1", "model_type": "main"},
    "controlnets": [],
    "loras": [{"lora": {"model_name": "ink", "base_model": "sd-1"}, "weight": 0.75}],
    "vae": {"model_name": "sd-vae-ft-mse", "base_model": "sd-1"},
}
INVOKE_OLD = {
    "model": "stable diffusion",
    "model_weights": "stable-diffusion-1.5",
    "model_hash": "cc6cb27103417325ff94f52b7a5d2dde45a7515b25c255d8e396c90014281516",
    "app_id": "invoke-ai/InvokeAI",
    "app_version": "2.3.0",
    "image": {
        "prompt": [{"prompt": "an old lighthouse [blurry, text]", "weight": 1.0}],
        "steps": 50,
        "cfg_scale": 5,
        "threshold": 0,
        "perlin": 0,
        "height": 512,
        "width": 512,
        "seed": 2980747362,
        "seamless": False,
        "hires_fix": False,
        "type": "txt2img",
        "postprocessing": None,
        "sampler": "k_lms",
        "variations": [],
    },
}


def comfy(seed: int = 1071208483241017, cfg: float = 5.5, scheduler: str = "karras") -> Any:
    """ComfyUI's default graph, with a LoRA and a text that comes out of another node."""
    return {
        "3": {
            "inputs": {
                "seed": seed,
                "steps": 30,
                "cfg": cfg,
                "sampler_name": "euler_ancestral",
                "scheduler": scheduler,
                "denoise": 1,
                "model": ["10", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
            "class_type": "KSampler",
            "_meta": {"title": "KSampler"},
            "is_changed": [float("nan")],
        },
        "4": {
            "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"},
            "class_type": "CheckpointLoaderSimple",
        },
        "5": {
            "inputs": {"width": 1024, "height": 768, "batch_size": 1},
            "class_type": "EmptyLatentImage",
        },
        "6": {"inputs": {"text": ["11", 0], "clip": ["10", 1]}, "class_type": "CLIPTextEncode"},
        "7": {
            "inputs": {"text": "text, watermark", "clip": ["10", 1]},
            "class_type": "CLIPTextEncode",
        },
        "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, "class_type": "VAEDecode"},
        "9": {
            "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]},
            "class_type": "SaveImage",
        },
        "10": {
            "inputs": {
                "lora_name": "ink.safetensors",
                "strength_model": 0.6,
                "strength_clip": 1.0,
                "model": ["4", 0],
                "clip": ["4", 1],
            },
            "class_type": "LoraLoader",
        },
        "11": {"inputs": {"value": "a castle on a hill"}, "class_type": "PrimitiveString"},
    }


FLUX = {
    "5": {"inputs": {"width": 1024, "height": 1024}, "class_type": "EmptySD3LatentImage"},
    "6": {"inputs": {"text": "a blue bird", "clip": ["11", 0]}, "class_type": "CLIPTextEncode"},
    "8": {"inputs": {"samples": ["13", 0], "vae": ["10", 0]}, "class_type": "VAEDecode"},
    "12": {"inputs": {"unet_name": "flux1-dev.sft"}, "class_type": "UNETLoader"},
    "13": {
        "inputs": {
            "noise": ["25", 0],
            "guider": ["22", 0],
            "sampler": ["16", 0],
            "sigmas": ["17", 0],
            "latent_image": ["5", 0],
        },
        "class_type": "SamplerCustomAdvanced",
    },
    "16": {"inputs": {"sampler_name": "euler"}, "class_type": "KSamplerSelect"},
    "17": {
        "inputs": {"scheduler": "simple", "steps": 20, "denoise": 1.0, "model": ["12", 0]},
        "class_type": "BasicScheduler",
    },
    "22": {"inputs": {"model": ["12", 0], "conditioning": ["26", 0]}, "class_type": "BasicGuider"},
    "25": {"inputs": {"noise_seed": 77}, "class_type": "RandomNoise"},
    "26": {"inputs": {"guidance": 3.5, "conditioning": ["6", 0]}, "class_type": "FluxGuidance"},
}
WORKFLOW = {
    "last_node_id": 9,
    "nodes": [
        {
            "id": 3,
            "type": "KSampler",
            "mode": 0,
            "inputs": [
                {"name": "model", "type": "MODEL", "link": 1},
                {"name": "positive", "type": "CONDITIONING", "link": 4},
                {"name": "negative", "type": "CONDITIONING", "link": 6},
                {"name": "latent_image", "type": "LATENT", "link": 2},
            ],
            "widgets_values": [42, "randomize", 12, 6.5, "dpmpp_2m", "karras", 1],
        },
        {"id": 4, "type": "CheckpointLoaderSimple", "inputs": [], "widgets_values": ["m.ckpt"]},
        {"id": 5, "type": "EmptyLatentImage", "inputs": [], "widgets_values": [512, 640, 1]},
        {
            "id": 6,
            "type": "CLIPTextEncode",
            "inputs": [{"name": "clip", "link": 3}],
            "widgets_values": ["a drawn house"],
        },
        {
            "id": 7,
            "type": "CLIPTextEncode",
            "inputs": [{"name": "clip", "link": 5}],
            "widgets_values": ["ugly"],
        },
    ],
    "links": [
        [1, 4, 0, 3, 0, "MODEL"],
        [2, 5, 0, 3, 3, "LATENT"],
        [3, 4, 1, 6, 0, "CLIP"],
        [4, 6, 0, 3, 1, "CONDITIONING"],
        [5, 4, 1, 7, 0, "CLIP"],
        [6, 7, 0, 3, 2, "CONDITIONING"],
    ],
}


def picture(shade: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A little picture with something in it, another for each shade."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.putpixel((0, 0), (shade % 256, shade // 256 % 256, 7))
    return image


def png(texts: Mapping[str, str], shade: int = 0) -> bytes:
    """PNG text: Latin-1 as tEXt, anything else as iTXt, as PIL and so every Python tool does."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    out = io.BytesIO()
    picture(shade).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def exif(kind: str, comment: bytes | None = None, tags: Mapping[int, str] | None = None) -> bytes:
    """JPEG or WebP with an EXIF UserComment, or with texts in tags of the first directory."""
    held = Image.Exif()
    for tag, value in (tags or {}).items():
        held[tag] = value
    if comment is not None:
        held.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    out = io.BytesIO()
    picture().save(out, kind, exif=held.tobytes())
    return out.getvalue()


def user_comment(text: str, order: str = "utf-16-be") -> bytes:
    """piexif.helper.UserComment.dump(text, encoding="unicode"): big endian, no mark."""
    return b"UNICODE\x00" + text.encode(order)


def as_text(data: Any) -> str:
    """JSON as the tools write it (ComfyUI's NaN included)."""
    return json.dumps(data)
