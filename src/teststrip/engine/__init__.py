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
"""

from teststrip.engine.config import EngineConfig
from teststrip.engine.engine import Engine
from teststrip.engine.pool import EnginePool

__all__ = ["Engine", "EngineConfig", "EnginePool"]
