"""LoRA adapters of a pipeline: loaded once by path, switched between forwards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teststrip.engine.loading import HUB_ID
from teststrip.errors import ModelError
from teststrip.recipe import Lora


class Adapters:
    """Which adapters a diffusers pipeline has loaded and which are active."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._names: dict[str, str] = {}
        self._active: tuple[Lora, ...] = ()

    def use(self, loras: Sequence[Lora]) -> None:
        """Activate exactly `loras`. Raises ModelError for a file that is no LoRA of this model."""
        wanted = tuple(loras)
        if wanted == self._active:
            return
        names = [self._load(lora.path) for lora in wanted]
        if names:
            self._pipe.enable_lora()
            self._pipe.set_adapters(names, [lora.scale for lora in wanted])
        else:
            self._pipe.disable_lora()
        self._active = wanted

    def _load(self, path: str) -> str:
        if path not in self._names:
            name = f"lora{len(self._names)}"
            file = Path(path)
            if file.suffix in (".bin", ".pt", ".pth", ".ckpt"):
                raise ModelError(f"LoRA {path}: pickle files are refused; convert to safetensors")
            if not file.exists() and not HUB_ID.match(path):
                raise ModelError(
                    f"LoRA {path}: no such file; accepted: a safetensors file, a folder or a hub id"
                )
            try:
                if file.is_file():
                    self._pipe.load_lora_weights(
                        str(file.parent), weight_name=file.name, adapter_name=name
                    )
                else:
                    self._pipe.load_lora_weights(path, adapter_name=name, use_safetensors=True)
            except Exception as exc:
                # peft, safetensors and the hub client raise many kinds; all mean the same here.
                reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
                raise ModelError(
                    f"LoRA {path}: cannot be loaded into this model: {reason}"
                ) from exc
            self._names[path] = name
        return self._names[path]
