"""The routes: all runs, one run, its images, and those that are only in MLflow."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from teststrip.errors import StorageError, StudyError, TeststripError
from teststrip.evidence import numbers
from teststrip.studio import pages
from teststrip.studio.parts import Parts
from teststrip.studio.pictures.making import thumbnails
from teststrip.studio.pictures.routes import PLACEHOLDER
from teststrip.studio.runs import curves, recorded, scores
from teststrip.studio.runs.decision import decision
from teststrip.studio.runs.run import BASE, Run, Sample, heads, open_run

router = APIRouter()
AppParts = Annotated[Parts, Depends(pages.parts)]
FOR_GOOD = "private, max-age=31536000, immutable"
THUMB_PX = 384


@router.get("/runs")
def runs(request: Request, parts: AppParts) -> Response:
    """All training runs here; those in MLflow are asked for afterwards, as that may take long."""
    has_store = bool(os.environ.get("MLFLOW_TRACKING_URI")) or (parts.home / "mlflow.db").exists()
    return pages.render(
        request,
        "runs/runs.html",
        page="runs",
        heads=heads(parts.home),
        folder=parts.home / "runs",
        has_store=has_store,
    )


@router.get("/runs-recorded")
def recorded_runs(request: Request, parts: AppParts) -> Response:
    """The part of the page with the runs that are only in MLflow."""
    here = {head.name for head in heads(parts.home)}
    fault, found = "", []
    try:
        found = [r for r in recorded.recorded(parts.home) if r.name not in here]
    except TeststripError as exc:
        fault = str(exc)
    return pages.render(request, "runs/recorded.html", page="runs", found=found, fault=fault)


@router.post("/runs/{name}/bring")
def bring(request: Request, name: str, parts: AppParts) -> Response:
    """Copy a run from MLflow, and show it."""
    recorded.bring(parts.home, name)
    return RedirectResponse(pages.link(request)(f"/runs/{name}"), 303)


@router.get("/runs/{name}")
def run(request: Request, name: str, parts: AppParts, step: int | None = None) -> Response:
    """A run, at the checkpoint asked for, else the chosen or the last one."""
    found = open_run(parts.home, name)
    steps = found.checkpoints
    default = found.head.selected if found.head.selected in steps else (steps or [BASE])[-1]
    now = step if step in steps else default
    standing = scores.standings(found)
    last = max([*steps, found.head.steps or 0, *(c[-1][0] for c in found.curves.values())])
    gains = [curves.gain_drawing(standing, column, last) for column in found.head.higher]
    return pages.render(
        request,
        "runs/run.html",
        page="runs",
        run=found,
        head=found.head,
        decision=decision(found.head.folder),
        steps=steps,
        now=now,
        last=last,
        shown=found.at(now),
        base=found.at(BASE),
        standings=standing,
        writers={column: _writer(standing, column) for column in found.head.higher},
        drawings=curves.drawings(
            {n: c for n, c in found.curves.items() if n not in found.head.higher}, steps, last
        ),
        gains=[drawing for drawing in gains if drawing is not None],
        losses=_losses(found),
        numbers=numbers,
        address=lambda sample: _address(request, name, sample),
    )


@router.get("/runs/{name}/samples.json")
def samples(request: Request, name: str, parts: AppParts) -> Response:
    """Where the images of each checkpoint are: step -> place -> address of the thumbnail."""
    found = open_run(parts.home, name)
    by_step: dict[str, dict[str, str]] = {str(step): {} for step in found.checkpoints}
    for sample in found.samples:
        place = f"{sample.prompt_id}-{sample.seed}"
        by_step[str(sample.step)][place] = _address(request, name, sample)
    return JSONResponse({"steps": by_step}, headers={"Cache-Control": "private, no-cache"})


@router.get("/runs/{name}/samples/{step}/{file}")
def sample(name: str, step: int, file: str, parts: AppParts) -> Response:
    """An image: `.png` as it was made, `.webp` small. Only files that the run lists are opened."""
    stem, _, form = file.rpartition(".")
    prompt_id, _, seed = stem.rpartition("-")
    place = (prompt_id, int(seed) if seed.isascii() and seed.isdigit() else -1)
    found = open_run(parts.home, name).at(step).get(place)
    if found is None or form not in ("png", "webp"):
        raise StudyError(f"training run {name!r} has no such image")
    try:
        data = found.path.read_bytes() if form == "png" else _small(found.path, found.version)
    except (OSError, StorageError):
        text = PLACEHOLDER.format("cannot", "be read")
        return Response(text, 200, {"Cache-Control": "no-store"}, "image/svg+xml")
    headers = {"Cache-Control": FOR_GOOD, "ETag": f'"{found.version}-{form}"'}
    return Response(data, 200, headers, f"image/{form}")


@lru_cache(maxsize=1024)
def _small(path: Path, version: str) -> bytes:
    return thumbnails(path.read_bytes(), [THUMB_PX])[THUMB_PX]


def _address(request: Request, name: str, sample: Sample) -> str:
    from urllib.parse import quote

    file = quote(f"{sample.prompt_id}-{sample.seed}.webp", safe="")
    path = f"/runs/{name}/samples/{sample.step}/{file}"
    return pages.link(request)(path, v=sample.version)


def _writer(standing: dict[int, tuple[scores.Standing, ...]], column: str) -> numbers.Numbers:
    return numbers.Numbers.of(
        s.gain or s.mean for all_ in standing.values() for s in all_ if s.column == column
    )


def _losses(found: Run) -> dict[str, dict[int, Any]]:
    """Loss curve -> step of a checkpoint -> its last value at or before it."""
    out: dict[str, dict[int, Any]] = {}
    for name, curve in found.curves.items():
        if name.endswith("loss"):
            values = {}
            for step in found.checkpoints:
                before = [value for at, value in curve if at <= step]
                is_known = before and (step != BASE or name != "loss")
                values[step] = before[-1] if is_known else None
            out[name] = values
    return out
