"""A CLIP model, opened: unit vectors of pictures and of prompts. Every learned scorer uses it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPModel
from transformers.utils import logging as library_logging

from teststrip import png
from teststrip.errors import ConfigError, ModelError
from teststrip.recipe import Frozen
from teststrip.records import Generation
from teststrip.score.model_folder import open_folder
from teststrip.score.preprocess import Preprocess

MAX_CACHED_PROMPTS = 20_000
log = logging.getLogger(__name__)


class ClipOptions(Frozen):
    """What every CLIP scorer may be told.

    `model`: shipped name, folder or hub id. `processor`: where tokenizer and preprocessing are,
    if not beside the weights. `batch_size`: None is 16 on a GPU (numbers agree to 1e-5 whatever the
    batch) and 1 on a CPU (equal bit for bit; the shipped model then takes 22 instead of 6 ms a
    picture on one busy core, larger models hardly more).
    """

    model: str = Field(default="clip_small", min_length=1)
    revision: str | None = None
    processor: str | None = None
    device: str = "auto"
    batch_size: int | None = Field(default=None, ge=1, le=1024)


class ClipTowers:
    """Both towers of a CLIPModel in float32. One thread at a time.

    `logit_scale` is the learned factor that turns cosines into logits. `truncated` holds the
    prompts that were longer than the text window: their ends were not read.
    """

    def __init__(self, folder: Path, processor: Path, options: ClipOptions) -> None:
        self.device = _device(options.device)
        self.batch_size = options.batch_size or (1 if self.device.type == "cpu" else 16)
        self.preprocess = Preprocess.from_file(processor / "preprocessor_config.json")
        try:
            with _no_bars():
                self._tokenizer = AutoTokenizer.from_pretrained(processor, local_files_only=True)
                model, info = CLIPModel.from_pretrained(
                    folder,
                    dtype=torch.float32,
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as exc:
            raise ModelError(f"scorer model {folder}: transformers cannot open it: {exc}") from exc
        # position_ids were a stored buffer once; anything else missing would be random weights
        missing = sorted(key for key in info["missing_keys"] if not key.endswith("position_ids"))
        if missing:
            raise ModelError(
                f"scorer model {folder}: {len(missing)} weights are missing, such as {missing[0]}"
            )
        self._model = model.eval().requires_grad_(False).to(self.device)
        self._window = int(model.config.text_config.max_position_embeddings)
        self._check_input_size(folder)
        self.logit_scale = float(model.logit_scale.exp())
        self.width = int(model.config.projection_dim)
        self.truncated: set[str] = set()
        self._prompts: dict[str, Tensor] = {}

    @classmethod
    def open(cls, options: ClipOptions) -> Self:
        """Find, check and load. Raises ModelError."""
        folder = open_folder(options.model, options.revision).path
        processor = folder
        if options.processor:
            processor = open_folder(options.processor, weights=False).path
        return cls(folder, processor, options)

    @torch.inference_mode()
    def embed_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """uint8 [H, W, 3] each, sizes may differ -> float32 [N, D] of length 1."""
        values = torch.from_numpy(np.stack([self.preprocess(p) for p in pictures]))
        vision = self._model.vision_model(pixel_values=values.to(self.device)).pooler_output
        return F.normalize(self._model.visual_projection(vision), dim=-1)

    @torch.inference_mode()
    def embed_prompt(self, prompt: str) -> Tensor:
        """float32 [D] of length 1. Each prompt is encoded alone, once, and kept."""
        if prompt not in self._prompts:
            if len(self._prompts) >= MAX_CACHED_PROMPTS:
                self._prompts.clear()
            text = self._model.text_model(input_ids=self._tokens(prompt)).pooler_output
            self._prompts[prompt] = F.normalize(self._model.text_projection(text), dim=-1)[0]
        return self._prompts[prompt]

    def embed_generations(self, generations: Sequence[Generation]) -> Iterator[tuple[int, Tensor]]:
        """(index, picture's vector [D]) for each picture that can be decoded, in order.

        The others are logged and left out.
        """
        for begin in range(0, len(generations), self.batch_size):
            part = generations[begin : begin + self.batch_size]
            decoded = [
                (begin + i, picture)
                for i, g in enumerate(part)
                if (picture := _decode(g)) is not None
            ]
            if decoded:
                vectors = self.embed_pictures([picture for _, picture in decoded])
                yield from zip((index for index, _ in decoded), vectors, strict=True)

    def _tokens(self, prompt: str) -> Tensor:
        ids = self._tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
        if len(ids) > self._window:
            log.warning(
                "clip: prompt of %d tokens, %d are read: %.60r", len(ids), self._window, prompt
            )
            self.truncated.add(prompt)
            ids = [*ids[: self._window - 1], ids[-1]]
        return torch.tensor([ids], device=self.device)

    def _check_input_size(self, folder: Path) -> None:
        side = self._model.config.vision_config.image_size
        sample = self.preprocess(np.zeros((side, side, 3), np.uint8))
        if sample.shape != (3, side, side):
            raise ModelError(
                f"scorer model {folder}: its preprocessing gives {sample.shape[1:]} px and its "
                f"vision tower takes {side} x {side}"
            )


@contextmanager
def _no_bars() -> Iterator[None]:
    """transformers draws no progress bar and prints no table of keys while it loads."""
    had_bar, verbosity = library_logging.is_progress_bar_enabled(), library_logging.get_verbosity()
    library_logging.disable_progress_bar()
    library_logging.set_verbosity_error()
    try:
        yield
    finally:
        library_logging.set_verbosity(verbosity)
        if had_bar:
            library_logging.enable_progress_bar()


def _decode(generation: Generation) -> NDArray[np.uint8] | None:
    try:
        return png.pixels(generation.png)
    except ConfigError as exc:
        log.warning("clip: picture %s: %s", generation.image_key, exc)
        return None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as exc:
        raise ModelError(f"device {name!r}: accepted: auto, cpu, cuda, cuda:1, mps") from exc
