"""Teststrip: the settings at which an image-generation model is consistently good, with evidence.

    recipe    what decides an image: Recipe, Block, Request
    engine    any recipe in one forward: Engine
    study     a paired, raced search over recipes: Study
    score     what judges images
    evidence  tables -> conclusions with their uncertainty -> report
    track     the record in MLflow

Importing this package loads nothing heavy; Engine and Study are loaded when first touched.
"""

import importlib
from typing import TYPE_CHECKING, Any

from teststrip.errors import TeststripError
from teststrip.recipe import Block, Lora, Recipe, Request
from teststrip.records import Failure, Generation

if TYPE_CHECKING:
    from teststrip.engine import Engine
    from teststrip.study import Study

__all__ = [
    "Block",
    "Engine",
    "Failure",
    "Generation",
    "Lora",
    "Recipe",
    "Request",
    "Study",
    "TeststripError",
]
__version__ = "0.1.0"

_LAZY = {"Engine": "teststrip.engine", "Study": "teststrip.study"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'teststrip' has no attribute {name!r}")
