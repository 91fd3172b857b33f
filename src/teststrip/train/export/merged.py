"""The whole model with the LoRA in its weights: any program that knows no LoRA makes its images."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft.tuners.tuners_utils import BaseTunerLayer

from teststrip.engine.adapters import Adapters
from teststrip.engine.loading import open_pipeline, quiet_libraries
from teststrip.errors import StudyError
from teststrip.train.export.metadata import lineage
from teststrip.train.export.source import Source

MARK = "merged.json"


def merged_pipeline(source: Source) -> Any:
    """The base pipeline in fp32 on the CPU, its weights changed for good.

    Raises StudyError where a merged weight is not finite.
    """
    pipe = open_pipeline(source.base, torch.float32, torch.device("cpu"))
    Adapters(pipe).use([source.adapter])
    with torch.no_grad():
        for model in (pipe.unet, pipe.text_encoder):
            for module in model.modules():
                if isinstance(module, BaseTunerLayer):
                    _merge(module)
            recurse_remove_peft_layers(model)
            model.__dict__.pop("peft_config", None)
    return pipe


def write_merged(source: Source, place: Path) -> None:
    """Save the merged model in `place`, with the base model's own defaults and licence."""
    pipe = merged_pipeline(source)
    with quiet_libraries():
        pipe.save_pretrained(str(place), safe_serialization=True)
    for file in source.base.iterdir():
        if file.name == "teststrip.json" or file.name.upper().startswith(("LICEN", "NOTICE")):
            shutil.copyfile(file, place / file.name)
    (place / MARK).write_text(json.dumps(lineage(source), indent=1, ensure_ascii=False))


def _merge(module: Any) -> None:
    try:
        module.merge(safe_merge=True)
    except ValueError as exc:  # peft's word for a weight that became NaN
        raise StudyError(f"merging gives weights that are not finite: {exc}") from exc
