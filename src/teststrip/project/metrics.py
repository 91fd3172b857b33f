"""Metrics files: nested numbers that DVC can compare, each score with its interval.

The unit is the prompt mean, not the picture: pictures of one prompt are alike (evidence/interval).
What has no interval (one prompt) has no `low` and `high`; nothing here is ever null.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.files import write_atomic

if TYPE_CHECKING:
    from teststrip.evidence.interval import Interval

DIGITS = 6
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scored:
    """One picture's score, NaN where it has none."""

    prompt_id: str
    seed: int
    value: float


def mean_of(pictures: Sequence[Scored], confidence: float = CONFIDENCE) -> dict[str, float]:
    """`mean`, `low`, `high` over prompts, how many `prompts` and `images`.

    Pictures without a score are left out; without any, `mean` is left out too.
    """
    from teststrip.evidence.interval import interval

    values = _known(pictures)
    return numbers(interval(_prompt_means(values), confidence), len(values))


def gain_of(
    made: Sequence[Scored],
    reference: Sequence[Scored],
    *,
    higher_is_better: bool,
    confidence: float = CONFIDENCE,
) -> dict[str, float]:
    """`made` against `reference`, paired by prompt and seed; positive is better for any score.

    `p`: two-sided, paired t test on prompt means; 1 where there are too few prompts to tell.
    """
    from teststrip.evidence.interval import interval, p_value

    sign = 1 if higher_is_better else -1
    before, after = _known(reference), _known(made)
    both = {key: sign * (after[key] - before[key]) for key in sorted(after.keys() & before.keys())}
    units = _prompt_means(both)
    return numbers(interval(units, confidence), len(both)) | {"p": p_value(units)}


def numbers(found: "Interval", images: int | None = None) -> dict[str, float]:
    """An interval as a metrics file holds it."""
    out: dict[str, float] = {"prompts": found.units}
    if images is not None:
        out["images"] = images
    if found.units:
        out["mean"] = found.mean
    if found.low is not None and found.high is not None:
        out |= {"low": found.low, "high": found.high}
    return out


def rounded(value: float) -> float:
    """To six significant digits, so that the last bits of a sum make no difference."""
    return float(f"{value:.{DIGITS}g}")


def write_metrics(path: Path, data: Mapping[str, Any]) -> None:
    """Write nested numbers: sorted keys, floats rounded, the same bytes for the same numbers.

    Raises StorageError; ValueError for what is no finite number.
    """
    text = json.dumps(_plain(data, path.name), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def read_metrics(text: str | bytes, what: str) -> dict[str, Any]:
    """The content of a metrics file. Raises ConfigError if it is none; `what` names it."""
    try:
        data = json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"{what}: no metrics file: {exc}") from exc
    if not isinstance(data, dict):
        raise ConfigError(f"{what}: no metrics file: it holds a {type(data).__name__}, no object")
    return data


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return rounded(value)
    raise ValueError(f"{where}: finite numbers belong into a metrics file, got {value!r}")


def _known(pictures: Sequence[Scored]) -> dict[tuple[str, int], float]:
    return {(p.prompt_id, p.seed): p.value for p in pictures if math.isfinite(p.value)}


def _prompt_means(values: Mapping[tuple[str, int], float]) -> Any:
    import numpy as np

    by_prompt: dict[str, list[float]] = {}
    for (prompt_id, _), value in sorted(values.items()):
        by_prompt.setdefault(prompt_id, []).append(value)
    return np.array([sum(some) / len(some) for some in by_prompt.values()])
