"""A training run, read from its folder. Whatever is damaged or foreign is left out, and said."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from teststrip.errors import StudyError
from teststrip.study.config import is_name
from teststrip.study.folder import StudyFolder

FORMAT = 1
BASE = 0
STATES = ("running", "finished", "stopped", "failed")
COPIES = Path("studio") / "runs"


@dataclass(frozen=True)
class Sample:
    """A validation image. `step` 0 is the base model; `version` changes with the file."""

    step: int
    prompt_id: str
    prompt: str
    seed: int
    path: Path
    version: str
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, int]:
        """What is the same at every checkpoint."""
        return self.prompt_id, self.seed


@dataclass(frozen=True)
class Head:
    """What run.json says. `state`: its own, or `interrupted`: it was killed. `higher`: score
    column -> is higher better. `fault`: what is wrong."""

    name: str
    folder: Path
    state: str
    kind: str = ""
    why: str = ""
    created: str = ""
    changed: str = ""
    steps: int | None = None
    base: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    higher: Mapping[str, bool] = field(default_factory=dict)
    selected: int | None = None
    selected_why: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Run:
    """A run with all it has. `curves`: name -> [(step, value)], by step, finite values only."""

    head: Head
    curves: Mapping[str, list[tuple[int, float]]]
    samples: tuple[Sample, ...]

    @property
    def checkpoints(self) -> list[int]:
        """Steps that have images, the base model's 0 first where it has."""
        return sorted({sample.step for sample in self.samples})

    @property
    def places(self) -> list[tuple[str, int]]:
        """The fixed (prompt, seed) pairs, in the order of the prompts in run.json."""
        order = {prompt: k for k, prompt in enumerate(self.head.prompts)}
        found = {sample.place for sample in self.samples}
        return sorted(found, key=lambda p: (order.get(p[0], len(order)), p))

    def at(self, step: int) -> dict[tuple[str, int], Sample]:
        """The images of a checkpoint by place."""
        return {sample.place: sample for sample in self.samples if sample.step == step}


def heads(home: Path) -> list[Head]:
    """Every run in `home`, the latest changed first; copies from MLflow where it is not here."""
    found: dict[str, Head] = {}
    for place in (home / COPIES, home / "runs"):
        for path in place.glob("*/run.json"):
            if is_name(path.parent.name):
                found[path.parent.name] = read_head(path.parent)
    return sorted(found.values(), key=lambda head: head.changed, reverse=True)


def open_run(home: Path, name: str) -> Run:
    """A run by its name. Raises StudyError where there is none, or none that can be read."""
    if is_name(name):
        for place in (home / "runs", home / COPIES):
            if (place / name / "run.json").is_file():
                return read_run(place / name)
    raise StudyError(f"no training run {name!r} here")


def read_run(folder: Path) -> Run:
    """All of a run. Raises StudyError where run.json cannot be read."""
    head = read_head(folder)
    if head.fault:
        raise StudyError(f"training run {head.name!r}: {head.fault}")
    path = folder / "metrics.jsonl"
    curves = _curves(path, _stamp(path))
    return Run(head, curves, tuple(_samples(head)))


def read_head(folder: Path) -> Head:
    """What run.json says; with a `fault` where it cannot be read."""
    name = folder.name
    try:
        data = json.loads((folder / "run.json").read_bytes())
        if not isinstance(data, dict):
            raise TypeError("no JSON object")  # noqa: TRY301 - as json itself would
    except (OSError, ValueError, TypeError, RecursionError) as exc:
        return Head(name, folder, "failed", fault=f"run.json cannot be read: {exc}")
    if data.get("format") != FORMAT or data.get("state") not in STATES:
        said = f"format {data.get('format')!r}, state {data.get('state')!r}"
        return Head(name, folder, "failed", fault=f"run.json has {said}; see docs/runs-format.md")
    base, selected = _dict(data, "base"), _dict(data, "selected")
    model = " at ".join(str(base[k]) for k in ("model", "revision") if base.get(k))
    return Head(
        name=name,
        folder=folder,
        state=_state(folder, data["state"]),
        kind=str(data.get("kind") or ""),
        why=str(data.get("why") or ""),
        created=str(data.get("created") or ""),
        changed=str(data.get("changed") or data.get("created") or ""),
        steps=_whole(data.get("steps")),
        base=model,
        prompts={str(k): str(v) for k, v in _dict(data, "prompts").items()},
        higher={str(k): bool(v) for k, v in _dict(data, "scores").items()},
        selected=_whole(selected.get("step")),
        selected_why=str(selected.get("why") or ""),
    )


def _state(folder: Path, said: str) -> str:
    """`interrupted` where a run that says it runs has lost its process (its lock is free)."""
    was_killed = said == "running" and (folder / "lock").exists()
    return "interrupted" if was_killed and StudyFolder(folder).holder() is None else said


def _samples(head: Head) -> Iterator[Sample]:
    scores = _scores(head)
    root = head.folder.resolve()
    for folder in (head.folder / "samples").glob("*/"):
        step = BASE if folder.name == "base" else _whole_text(folder.name)
        if step is None:
            continue
        for path in sorted(folder.glob("*.png")):
            prompt_id, _, seed_text = path.stem.rpartition("-")
            seed = _whole_text(seed_text)
            if seed is None or not prompt_id or not path.resolve().is_relative_to(root):
                continue
            yield Sample(
                step=step,
                prompt_id=prompt_id,
                prompt=head.prompts.get(prompt_id, prompt_id),
                seed=seed,
                path=path,
                version=_stamp(path),
                scores=scores.get((step, prompt_id, seed), {}),
            )


def _scores(head: Head) -> Mapping[tuple[int, str, int], Mapping[str, float]]:
    path = head.folder / "samples.parquet"
    if not path.is_file() or not head.higher:
        return {}
    return _table(path, _stamp(path), tuple(head.higher))


@lru_cache(maxsize=32)
def _table(
    path: Path, stamp: str, columns: tuple[str, ...]
) -> Mapping[tuple[int, str, int], Mapping[str, float]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
        return {
            (int(r["step"]), str(r["prompt_id"]), int(r["seed"])): {
                c: float(r[c]) for c in columns if _is_finite(r.get(c))
            }
            for r in rows
        }
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return {}  # pictures without scores are worth more than no page


@lru_cache(maxsize=32)
def _curves(path: Path, stamp: str) -> Mapping[str, list[tuple[int, float]]]:
    by_name: dict[str, dict[int, float]] = {}
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            row = json.loads(line)
            step = _whole(row["step"])
        except (ValueError, KeyError, TypeError):
            continue
        if step is None:
            continue
        for name, value in row.items():
            if name not in ("step", "time") and _is_finite(value):
                by_name.setdefault(str(name), {})[step] = float(value)
    return {name: sorted(points.items()) for name, points in by_name.items()}


def _stamp(path: Path) -> str:
    try:
        info = path.stat()
    except OSError:
        return ""
    return f"{info.st_mtime_ns:x}-{info.st_size:x}"


def _dict(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _whole_text(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
