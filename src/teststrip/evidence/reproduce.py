"""How to make a recipe's image again: as a recipe, as A1111 text, as diffusers code."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from teststrip import a1111
from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.evidence.table import RECIPE, plain
from teststrip.noise import NOISE_NAMES, SIGMA_SUFFIXES, split_name
from teststrip.recipe import Block, Recipe, Request

if TYPE_CHECKING:
    import pandas as pd

MAIN = {"model", "scheduler", "steps", "guidance"}


@dataclass(frozen=True)
class Reproduction:
    """Texts to copy. `recipe`: JSON of the main settings and of what differs from the defaults."""

    recipe: str
    a1111: str
    diffusers: str


def reproduction(
    table: "pd.DataFrame", recipe_id: str, size: tuple[int, int], dtype: str | None = None
) -> Reproduction | None:
    """For the first block of a recipe; None where the table does not hold whole recipes.

    `size`: width and height of its pictures in px, for A1111's text. `dtype`: what the pictures
    were made in, where the recipe leaves it to the machine.
    """
    row = table[table["recipe_id"] == recipe_id].sort_values("block", kind="stable").iloc[0]
    recipe = recipe_of(row)
    if recipe is None:
        return None
    try:
        block = parse(Block, {"prompt": str(row["prompt"]), "seed": int(row["seed"])}, "block")
    except ConfigError:
        return None
    request = Request(recipe=recipe, block=block)
    told = recipe.model_dump(mode="json", include=MAIN)
    told |= recipe.model_dump(mode="json", exclude_defaults=True)
    return Reproduction(
        recipe=json.dumps(told, indent=2, ensure_ascii=False),
        a1111=a1111.to_text(request, *size),
        diffusers=snippet(request, dtype),
    )


def recipe_of(row: Any) -> Recipe | None:
    """The recipe of a table's row; None where its `recipe.` columns make none."""
    fields = {
        str(name).removeprefix(RECIPE): plain(row[name])
        for name in row.index
        if str(name).startswith(RECIPE)
    }
    swept = ("lora", "lora_scale")  # two views of `loras`, no fields of a recipe
    fields = {k: v for k, v in fields.items() if v is not None and k not in swept}
    if not fields:
        return None
    try:
        if isinstance(fields.get("loras"), str):
            fields["loras"] = json.loads(fields["loras"])
        return parse(Recipe, fields, "recipe")
    except (ConfigError, ValueError):
        return None


def _is_shipped(model: str) -> bool:
    """A model that comes with the package is named, not addressed."""
    return model.isidentifier() and (resources.files("teststrip") / "models" / model).is_dir()


def snippet(request: Request, dtype: str | None = None) -> str:
    """Plain diffusers code that makes this image; `dtype` where the recipe names none."""
    recipe = request.recipe
    known = NOISE_NAMES[split_name(recipe.scheduler)[0]]
    options, call = _noise_options(request), _call(request)
    dtypes = {"bf16": "bfloat16", "fp16": "float16"}
    shipped = _is_shipped(recipe.model)
    open_with = ["model" if shipped else repr(recipe.model)]
    open_with += [f"revision={recipe.revision!r}"] if recipe.revision else []
    open_with += [f"torch_dtype=torch.{dtypes.get(recipe.dtype or dtype or '', 'float32')}"]
    lines = ["from importlib.resources import files\n"] if shipped else []
    lines += [
        "import torch",
        "from diffusers import DiffusionPipeline",
        f"from diffusers.schedulers import {known.class_name}",
        "",
    ]
    if shipped:
        lines.append(f"model = str(files('teststrip') / 'models' / {recipe.model!r})")
    lines.append(f"pipe = DiffusionPipeline.from_pretrained({', '.join(open_with)})")
    for k, lora in enumerate(recipe.loras):
        lines.append(f"pipe.load_lora_weights({lora.path!r}, adapter_name='lora{k}')")
    if recipe.loras:
        names, scales = (
            [f"lora{k}" for k in range(len(recipe.loras))],
            [lora.scale for lora in recipe.loras],
        )
        lines.append(f"pipe.set_adapters({names!r}, {scales!r})")
    if recipe.clip_skip:  # its pipelines ask for CLIPTextModel.text_model
        lines.append("# clip_skip: diffusers 0.42 can do it with transformers below 5 only")
    inside = "".join(f",\n    {name}={value!r}" for name, value in options.items())
    lines += [
        f"pipe.scheduler = {known.class_name}.from_config(",
        f"    pipe.scheduler.config{inside},",
        ")",
        "image = pipe(",
        *(f"    {name}={value!r}," for name, value in call.items()),
        f"    generator=torch.Generator('cpu').manual_seed({request.block.seed}),",
        ").images[0]",
    ]
    return "\n".join(lines)


def _noise_options(request: Request) -> dict[str, Any]:
    """What `from_config` of the noise scheduler gets."""
    recipe = request.recipe
    base, suffix = split_name(recipe.scheduler)
    known = NOISE_NAMES[base]
    options: dict[str, Any] = dict(known.options)
    if known.sigmas:
        options |= {f"use_{name}_sigmas": name == suffix for name in SIGMA_SUFFIXES}
    if recipe.spacing:
        options["timestep_spacing"] = recipe.spacing
    if recipe.zero_snr:
        options["rescale_betas_zero_snr"] = True
    if base == "dpmpp_sde":
        options["noise_sampler_seed"] = request.block.seed
    return options


def _call(request: Request) -> dict[str, Any]:
    """What the pipeline gets, less the generator; what does nothing is left out."""
    recipe = request.recipe
    call: dict[str, Any] = {
        "prompt": request.text,
        "num_inference_steps": recipe.steps,
        "guidance_scale": recipe.guidance,
    }
    more = {
        "negative_prompt": recipe.negative_prompt if recipe.guided else "",
        "guidance_rescale": recipe.rescale,
        "width": recipe.width,
        "height": recipe.height,
        "clip_skip": recipe.clip_skip,
        "eta": recipe.eta,
    }
    return call | {name: value for name, value in more.items() if value}
