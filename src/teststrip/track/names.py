"""What things are called in MLflow, and how values are fitted to its limits."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

KIND, STUDY, CONFIG = "teststrip.kind", "teststrip.study", "teststrip.config"
RECIPE_ID, RECIPE, ROLE = "teststrip.recipe_id", "teststrip.recipe", "teststrip.role"
STATUS, VERSION = "teststrip.status", "teststrip.version"
PARENT = "mlflow.parentRunId"
IMAGES = "images"
# How many pictures a recipe's run has; and, by the digest of their names, which are in the page
# images/pictures-<digest>.html or files of their own: who has the tags need not list the folder.
PICTURES, PACK, SINGLE = "teststrip.pictures", "teststrip.pack.", "teststrip.files."
TABLE = "images.parquet"
CONFIG_FILE = "config.json"
MAX_VALUE, MAX_KEY, MAX_TAG = 6000, 250, 5000
_NOT_ALLOWED = re.compile(r"[^/\w.\- :]", re.ASCII)


def key(name: str) -> str:
    """A name as MLflow takes it: `clip_small@1` is `clip_small:1`, other signs are `_`."""
    return _NOT_ALLOWED.sub("_", name.replace("@", ":"))[:MAX_KEY]


def fitted(value: str, limit: int = MAX_VALUE) -> str:
    """`value`, cut where it is too long; the cut says how long it was and its whole SHA-256.

    `log_batch` would cut silently after 6,000 characters; two prompts that differ at the end
    would look the same.
    """
    if len(value) <= limit:
        return value
    mark = (
        f" ...[cut: {len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()}]"
    )
    return value[: limit - len(mark)] + mark


def text(value: Any) -> str:
    """A parameter's value: strings as they are, all else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def flat(config: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists stay whole."""
    out: dict[str, Any] = {}
    for name, value in config.items():
        here = f"{at}.{name}" if at else str(name)
        if isinstance(value, Mapping) and value:
            out |= flat(value, here)
        else:
            out[here] = value
    return out


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics by MLflow's key; what is no finite number is left out, never made 0."""
    numbers = {key(name): float(value) for name, value in metrics.items() if value is not None}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def config_hash(config: Mapping[str, Any]) -> str:
    """Names a study's config; the budget may grow from run to run and does not count."""
    kept = {name: value for name, value in config.items() if name != "budget"}
    canonical = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
