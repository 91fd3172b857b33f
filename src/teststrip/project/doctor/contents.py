"""What the user wrote and put there: parameters, pictures, prompts; and what is out of date."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.project.doctor.finding import Finding, failed, passed, skipped, warned
from teststrip.project.doctor.visit import Visit
from teststrip.project.layout import IMAGES, PARAMS, PROMPTS
from teststrip.project.params import Params

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
LEAST_PROMPTS = 8
SEARCHED = "data/study-prompts.txt"
_BETTER = f"put whole files there, or take them away; then dvc add {IMAGES}"


def params(visit: Visit) -> Finding:
    """Is params.yaml right as a whole? Every fault."""
    try:
        found = Params.read(visit.root / PARAMS)
    except ConfigError as exc:
        return failed(exc.what, f"mend {PARAMS}", exc.faults)
    return passed(f"kind {found.kind}")


def pictures(visit: Visit) -> Finding:
    """Are the pictures there, whole, and kept by DVC?"""
    if visit.kind == "study":
        return skipped("kind study has none")
    folder = visit.root / IMAGES
    has_pointer = (visit.root / f"{IMAGES}.dvc").is_file()
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    if not files and has_pointer:
        mend = "dvc pull; where it brings none, dvc push on the machine that has them"
        # A fresh clone, which a commit hook or a job without the remote's keys looks at too.
        return (warned if visit.offline else failed)(f"{IMAGES}: no picture here", mend)
    if not files:
        return failed(f"{IMAGES}: no picture", f"put pictures there, then: dvc add {IMAGES}")
    damaged = [f"{p.relative_to(visit.root)}: {why}" for p in files if (why := _damage(p))]
    if damaged:
        return failed(f"{len(damaged)} of {len(files)} pictures cannot be read", _BETTER, damaged)
    if not has_pointer:
        mend = f"dvc add {IMAGES} && git add {IMAGES}.dvc"
        return failed(f"{len(files)} pictures, which DVC does not keep: no clone has them", mend)
    return passed(f"{len(files)} pictures, all readable")


def prompts(visit: Visit) -> Finding:
    """Are there enough prompts to tell a difference, and does nothing else see them?"""
    try:
        lines = _lines(visit.root / PROMPTS)
    except FileNotFoundError:
        return failed(f"no {PROMPTS}", "write prompts that nothing is chosen on, one a line")
    except (OSError, UnicodeDecodeError) as exc:
        return failed(f"{PROMPTS} cannot be read: {exc}", "write it as UTF-8 text, one a line")
    if not lines:
        return failed(f"{PROMPTS} is empty", "write prompts, one a line")
    return _judged(lines, _chosen_on(visit))


def _judged(lines: list[str], chosen_on: set[str]) -> Finding:
    twice = [line for line, count in Counter(lines).items() if count > 1]
    if twice:
        return failed(f"{PROMPTS} has prompts twice", "each once: the unit is the prompt", twice)
    seen = sorted(set(lines) & chosen_on)
    if seen:
        mend = f"replace them in {PROMPTS}: a score on what chose the result is too good"
        return warned(f"{len(seen)} prompts of {PROMPTS} are used for choosing too", mend, seen)
    if len(lines) < LEAST_PROMPTS:
        mend = "write more: 12 and above settle differences of ordinary size"
        return warned(f"only {len(lines)} prompts: few differences can be told", mend)
    return passed(f"{len(lines)} prompts that nothing else sees")


def state(visit: Visit) -> Finding:
    """What would `dvc repro` run? DVC's own answer, which reads the whole pipeline for it."""
    found = visit.status
    if isinstance(found, str):
        return failed(f"dvc status: {found}", "mend what DVC says; dvc status -v says more")
    if not found:
        return passed("every result belongs to its inputs")
    changed = sorted(found)
    return warned(
        f"out of date: {', '.join(changed)}",
        "dvc repro" if (visit.root / "dvc.lock").is_file() else "nothing ran yet: dvc repro",
    )


def _damage(path: Path) -> str:
    """Why a picture cannot be read; "" where it can."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    # Decoders of damaged files raise whatever their formats lead to; the doctor only tells.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as exc:
        return "no picture" if type(exc).__name__ == "UnidentifiedImageError" else str(exc)[:200]
    return ""


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8-sig")
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _chosen_on(visit: Visit) -> set[str]:
    """Prompts that checkpoints or recipes are chosen on."""
    here: Any = visit.raw_params
    for key in ("train", "settings", "validation", "prompts"):
        here = here.get(key) if isinstance(here, dict) else None
    found = {here} if isinstance(here, str) else set()
    if isinstance(here, list):
        found = {prompt for prompt in here if isinstance(prompt, str)}
    searched = visit.root / SEARCHED
    if visit.kind == "study" and searched.is_file():
        # the stage that reads it says so
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found |= set(_lines(searched))
    return found
