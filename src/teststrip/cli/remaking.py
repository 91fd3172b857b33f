"""A PNG of ours -> the same picture made again, and compared with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from teststrip import png
from teststrip.cli import making
from teststrip.engine import Engine
from teststrip.errors import ConfigError, GenerationError
from teststrip.png import PngFacts
from teststrip.records import Generation


def remake(old: PngFacts, *, model: str | None, device: str | None) -> Generation:
    """The picture of these settings, made as it was: same precision, rows and determinism.

    `model`, `device`: where the recorded ones are not at hand. Raises ModelError, GenerationError.
    """
    recipe = old.request.recipe
    recorded = str(old.facts.get("device"))
    recorded = recorded if recorded in ("cpu", "cuda", "mps") else "auto"
    options: dict[str, Any] = {
        "revision": recipe.revision,
        "dtype": old.facts.get("dtype") or recipe.dtype or "auto",
        "deterministic": bool(old.facts.get("deterministic")),
    }
    if rows := old.facts.get("rows"):
        options["max_rows"] = rows
    request = old.request
    if model is not None:
        options["revision"] = None
        changed = recipe.changed(model=model, revision=None)
        request = request.model_copy(update={"recipe": changed})
    engine = _open(request.recipe.model, device or recorded, options, is_given=device is not None)
    with engine:
        outcome = next(making.make(engine.generate, [request]))
    if not isinstance(outcome, Generation):
        raise GenerationError(f"the picture could not be made again: {outcome.reason}")
    return outcome


def compare(old: bytes, new: Generation) -> dict[str, Any]:
    """Are the pixels the same? If not: how many differ, by how much, and why that can be."""
    before, after = png.pixels(old), png.pixels(new.png)
    if before.shape != after.shape:
        raise GenerationError(f"sizes differ: {before.shape} in the file, {after.shape} made")
    gap = np.abs(before.astype(np.int16) - after.astype(np.int16)).max(axis=2)
    identical = not gap.any()
    return {
        "identical": identical,
        "pixels": int(gap.size),
        "different_pixels": int(np.count_nonzero(gap)),
        "largest_difference": int(gap.max()),
        "why": [] if identical else reasons(png.read(old).facts, png.read(new.png).facts),
    }


def reasons(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What was different when the first picture was made, in words."""
    found = []
    for name, what in (
        ("fingerprint", "model weights, adapters or precision"),
        ("device", "device"),
        ("hardware", "processor"),
    ):
        if old.get(name) != new.get(name):
            found.append(f"other {what}: {old.get(name)} then, {new.get(name)} now")
    versions, now = dict(old.get("versions") or {}), dict(new.get("versions") or {})
    found += [
        f"other {name}: {versions.get(name)} then, {now.get(name)} now"
        for name in sorted({*versions, *now})
        if versions.get(name) != now.get(name)
    ]
    if not old.get("deterministic"):
        found.append(
            "it shared its forwards with other images, which moves the last digits; pictures made "
            "with --deterministic do not depend on their neighbours"
        )
    return found


def _open(model: str, device: str, options: dict[str, Any], *, is_given: bool) -> Engine:
    try:
        return Engine.open(model, device=device, **options)
    except ConfigError:
        if is_given or device in ("auto", "cpu"):
            raise
        # The recorded device is not here; `reasons` will say so.
        return Engine.open(model, device="auto", **options)
