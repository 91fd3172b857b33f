"""Which reader understands a picture's texts."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from teststrip.imports import comfyui, drawing, invokeai, swarmui, webui
from teststrip.imports.found import Found, made
from teststrip.recipe import Recipe

NONE = "none"
log = logging.getLogger(__name__)


def read(texts: Mapping[str, str]) -> Found:
    """What a picture says of itself; `tool` is `none` where nothing is understood.

    Never raises: texts are a stranger's, and a picture without settings is still a picture.
    """
    for reader in (_ours, _swarmui, _invokeai, _comfyui, _webui):
        try:
            found = reader(texts)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            log.debug("%s: %r", reader.__name__, exc)
            continue
        if found is not None and (found.fields or found.params or found.prompt):
            return found
    return Found(NONE)


def _json(texts: Mapping[str, str], key: str) -> dict[str, Any] | None:
    text = texts.get(key, "").strip()
    if not text.startswith("{"):
        return None
    data = json.loads(text)
    return data if isinstance(data, dict) else None


def _ours(texts: Mapping[str, str]) -> Found | None:
    own = _json(texts, "teststrip")
    if own is None or not isinstance(own.get("recipe"), dict):
        return None
    recipe = {k: v for k, v in own["recipe"].items() if k in Recipe.model_fields}
    return made("Teststrip", own.get("prompt"), own.get("seed"), recipe, {})


def _swarmui(texts: Mapping[str, str]) -> Found | None:
    data = _json(texts, "parameters")
    return swarmui.read(data) if data else None


def _invokeai(texts: Mapping[str, str]) -> Found | None:
    data = _json(texts, "invokeai_metadata")
    if data is not None and (found := invokeai.read(data)):
        return found
    old = _json(texts, "sd-metadata")
    return invokeai.read_old(old) if old else None


def _comfyui(texts: Mapping[str, str]) -> Found | None:
    data = _json(texts, "prompt")
    if data is not None and (found := comfyui.read(data)):
        return found
    drawn = _json(texts, "workflow")
    return comfyui.read(drawing.as_graph(drawn)) if drawn else None


def _webui(texts: Mapping[str, str]) -> Found | None:
    text = texts.get("parameters", "")
    return webui.read(text) if text.strip() else None
