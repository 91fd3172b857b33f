"""Images from recipes, batched step by step: any recipe in one forward.

engine.py            Engine: add_request / step / cancel / preview / generate / stream
scheduler.py         who is in the next forward; pure Python
flight.py            one image on its way: its noise scheduler, generator and latents
noise_schedulers.py  a diffusers noise scheduler from a recipe's human name
pipelines/           one model family each: encode, denoise, decode
preview.py           how a picture will look, before it is decoded
finish.py            decode and PNG, off the step loop
loading.py           a model folder or hub id -> pipeline, checked and fingerprinted
pool.py              the Generator of a study: one engine per model and precision

Engine and pool bring torch and are loaded when first touched: `loading` reads a model's facts
without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from teststrip.engine.config import EngineConfig

if TYPE_CHECKING:
    from teststrip.engine.engine import Engine
    from teststrip.engine.pool import EnginePool

__all__ = ["Engine", "EngineConfig", "EnginePool"]
_LAZY = {"Engine": "teststrip.engine.engine", "EnginePool": "teststrip.engine.pool"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'teststrip.engine' has no attribute {name!r}")
