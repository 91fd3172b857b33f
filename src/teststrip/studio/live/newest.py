"""The newest images of a study, from the end of its rows.jsonl: no table is needed for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from teststrip import png
from teststrip.errors import TeststripError
from teststrip.study.folder import StudyFolder

TAIL_BYTES = 128_000


@dataclass(frozen=True)
class Shot:
    """An image that was made. `score`: the objective's, None before it is judged."""

    key: str
    finished: float | None
    recipe_id: str | None
    prompt: str
    seed: int | None
    score: float | None


def newest(folder: StudyFolder, objective: str | None, most: int) -> tuple[Shot, ...]:
    """The last `most` images, the newest first; empty where none was made."""
    try:
        info = folder.rows.stat()
    except OSError:
        return ()
    made, scores = _tail(folder.rows, info.st_mtime_ns, info.st_size)
    shots: list[Shot] = []
    for key in reversed(made):
        path = folder.images / key[:2] / f"{key}.png"
        if len(shots) == most:
            break
        if not key.isalnum() or not path.is_file():  # its line comes before the picture
            continue
        recipe_id, prompt, seed = _settings(path)
        score = scores.get(key, {}).get(objective or "")
        shots.append(Shot(key, made[key], recipe_id, prompt, seed, score))
    return tuple(shots)


@lru_cache(maxsize=64)
def _tail(
    path: Path, changed_ns: int, size: int
) -> tuple[dict[str, float | None], dict[str, Mapping[str, Any]]]:
    """Keys in the order they were made with their time, and scores by key."""
    made: dict[str, float | None] = {}
    scores: dict[str, Mapping[str, Any]] = {}
    try:
        with path.open("rb") as file:
            start = max(size - TAIL_BYTES, 0)
            file.seek(start)
            data = file.read(size - start)
    except OSError:
        return made, scores
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    for line in lines[1 if start else 0 :]:  # the first is torn where it was cut
        try:
            row = json.loads(line)
            key = str(row["key"])
            if "made" in row:
                made.pop(key, None)
                made[key] = row["made"].get("finished")
            elif "scores" in row:
                scores[key] = dict(row["scores"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a damaged line; the ledger warns of it
    return made, scores


@lru_cache(maxsize=4096)
def _settings(path: Path) -> tuple[str | None, str, int | None]:
    """(recipe id, prompt, seed) in the picture's own text; nothing where it has none of ours."""
    try:
        request = png.read(path.read_bytes()).request
    except (TeststripError, OSError):
        return None, "", None
    return request.recipe.recipe_id, request.block.prompt, request.block.seed
