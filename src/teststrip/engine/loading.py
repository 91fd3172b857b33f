"""A model folder or hub id -> a diffusers pipeline, checked first and fingerprinted."""

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, ModelError

MODELS = Path(__file__).parent.parent / "models"
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
FAMILIES = {"StableDiffusionPipeline": "sd"}
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
log = logging.getLogger(__name__)


def is_here(model: str) -> bool:
    """Is it shipped or a folder on this machine, so that nothing need be downloaded?"""
    return (MODELS / model / "model_index.json").is_file() or Path(model).expanduser().is_dir()


def find_folder(model: str, revision: str | None = None) -> Path:
    """The local folder of a model: a shipped name, a path, or a hub id (downloaded by diffusers).

    Raises ModelError with what was looked for.
    """
    shipped = MODELS / model
    if re.fullmatch(r"[\w-]+", model) and (shipped / "model_index.json").is_file():
        return shipped
    folder = Path(model).expanduser()
    if folder.exists():
        return folder
    if HUB_ID.match(model):
        return _download(model, revision)
    names = ", ".join(sorted(p.parent.name for p in MODELS.glob("*/model_index.json")))
    raise ModelError(
        f"model {model!r}: no such folder; accepted: a diffusers folder, a hub id such as "
        f"owner/name, or a shipped model ({names or 'none installed'})"
    )


def check_folder(folder: Path, *, allow_pickle: bool = False) -> dict[str, Any]:
    """The folder's model index. Raises ModelError if it is none that this engine can open."""
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        hint = "a single checkpoint file must be converted to a diffusers folder first"
        raise ModelError(
            f"model {folder}: no model_index.json there, so no diffusers model; {hint}"
        )
    try:
        index: dict[str, Any] = json.loads(index_file.read_text(encoding="utf-8"))
        family = index.get("_class_name")
    except (OSError, ValueError, AttributeError) as exc:
        raise ModelError(f"model {folder}: model_index.json cannot be read: {exc}") from exc
    if family not in FAMILIES:
        raise ModelError(
            f"model {folder}: pipeline class {family!r}; accepted so far: {', '.join(FAMILIES)}"
        )
    for part in ("unet", "vae", "text_encoder"):
        files = list((folder / part).glob("*"))
        safe = [f for f in files if f.suffix == ".safetensors"]
        pickles = [f.name for f in files if f.suffix in PICKLES]
        if not safe and pickles and not allow_pickle:
            raise ModelError(
                f"model {folder}: {part} has pickle weights only ({pickles[0]}), which can run "
                "code when loaded; save it again with safe_serialization=True, or pass "
                "allow_pickle=True if you trust its source"
            )
        if not safe and not pickles:
            raise ModelError(f"model {folder}: no weights in {part}/")
    return index


def open_pipeline(folder: Path, dtype: Any, device: Any, *, allow_pickle: bool = False) -> Any:
    """The loaded StableDiffusionPipeline, without safety checker. Raises ModelError."""
    index = check_folder(folder, allow_pickle=allow_pickle)
    unused = {
        name: None
        for name in ("safety_checker", "feature_extractor", "image_encoder")
        if name in index
    }
    try:
        with quiet_libraries():
            from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
                StableDiffusionPipeline,
            )

            pipe = StableDiffusionPipeline.from_pretrained(
                str(folder),
                dtype=dtype,
                use_safetensors=None if allow_pickle else True,
                requires_safety_checker=False,
                local_files_only=True,
                **unused,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as exc:
        raise ModelError(f"model {folder}: cannot be loaded: {exc}") from exc
    pipe.set_progress_bar_config(disable=True)
    mend_clip_skip(pipe.text_encoder)
    return pipe.to(device)


def mend_clip_skip(text_encoder: Any) -> None:
    """Let diffusers 0.42 find the final norm, which transformers 5 moved up one level.

    `encode_prompt(clip_skip=...)` reads `text_encoder.text_model.final_layer_norm`. Set in the
    instance's dict, past torch's registration, so that no module contains itself.
    """
    if not hasattr(text_encoder, "text_model"):
        text_encoder.__dict__["text_model"] = text_encoder


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """No bars and no hints about torchvision from transformers and diffusers while they load."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    both = (transformers_logging, diffusers_logging)
    kept = [(module.get_verbosity(), module.is_progress_bar_enabled()) for module in both]
    for module in both:
        module.set_verbosity_error()
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module, (verbosity, had_bar) in zip(both, kept, strict=True):
            module.set_verbosity(verbosity)
            if had_bar:
                module.enable_progress_bar()


def fingerprint(folder: Path) -> str:
    """Sixteen hex digits: SHA-256 over names and contents of configs, vocabulary and weights."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*/*")):
        if path.is_file() and path.suffix in (".json", ".txt", ".safetensors", *PICKLES):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder)} {digest}\n".encode())
    return total.hexdigest()[:16]


def default_fields(folder: Path) -> dict[str, Any]:
    """Recipe fields that the model's makers recommend: `teststrip.json`, key `default_recipe`."""
    path = folder / "teststrip.json"
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))["default_recipe"]
        return dict(fields)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{path}: needs an object `default_recipe`: {exc}") from exc


def _download(model: str, revision: str | None) -> Path:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(model, revision=revision, use_safetensors=True))
    except Exception as exc:
        # The hub client raises many kinds (network, auth, missing); all mean "not to be had".
        raise ModelError(
            f"model {model!r}: not in the local hub cache and cannot be downloaded "
            f"({type(exc).__name__}: {str(exc).splitlines()[0] if str(exc) else ''})"
        ) from exc
