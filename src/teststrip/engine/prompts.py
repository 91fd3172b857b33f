"""Text embeddings, each prompt encoded alone and kept."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from teststrip.engine.adapter_files import Adapter
from teststrip.engine.pipelines.base import StepPipeline


class PromptCache:
    """The most recently used embeddings by (text, adapters, clip skip).

    A prompt is encoded alone because kernels that depend on the batch size perturb embeddings;
    the empty negative prompt is hit by nearly every image.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, tuple[Adapter, ...], int], Any] = OrderedDict()

    def encode(
        self, pipeline: StepPipeline, text: str, adapters: Sequence[Adapter], clip_skip: int
    ) -> Any:
        """The embedding of `text`; the pipeline must have `adapters` active."""
        key = (text, tuple(adapters), clip_skip)
        if key not in self._kept:
            self._kept[key] = pipeline.encode(text, clip_skip=clip_skip)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
