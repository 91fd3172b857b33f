"""Promote: a study's confirmed recipe as a version in the MLflow model registry."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StudyError
from teststrip.wire.bench import Bench
from teststrip.wire.confirming import record, to_json
from teststrip.wire.winner import Winner, texts, winner

if TYPE_CHECKING:
    from teststrip.track.registry import Version

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
LEAST_WHY = 10


@dataclass(frozen=True)
class Promotion:
    """What was registered. `previous`: the version that was champion before, if it is another."""

    winner: Winner
    version: "Version"
    forced: bool

    def __str__(self) -> str:
        version = self.version
        was = f" (before: version {version.previous})" if version.previous else ""
        return "\n".join(
            [
                f"{version.name}: version {version.number} is champion{was}",
                f"  recipe   {self.winner.recipe_id} {self.winner.recipe.canonical}",
                f"  {'forced' if self.forced else 'evidence'}   {self.winner.standing}",
                f"  address  models:/{version.name}@champion",
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "model_name": self.version.name,
            "version": self.version.number,
            "is_new": self.version.is_new,
            "previous": self.version.previous,
            "uri": f"models:/{self.version.name}@champion",
            "source": self.version.source,
            "run_id": self.version.run_id,
            "study": self.winner.findings.facts.name,
            "recipe_id": self.winner.recipe_id,
            "recipe": self.winner.recipe.model_dump(mode="json", exclude_defaults=True),
            "confirmed": self.winner.supported,
            "forced": self.forced,
            "headline": self.winner.findings.headline,
            "tags": dict(self.version.tags),
        }


def promote(
    bench: Bench,
    name: str,
    model_name: str,
    recipe_id: str | None = None,
    why: str | None = None,
    *,
    force: bool = False,
) -> Promotion:
    """Register a confirmed recipe as champion of `model_name` in the MLflow model registry.

    Raises ConfigError (names, `why`), StudyError where the confirmation does not support it and
    `force` is off, StorageError where MLflow refuses or is away: what waits for it is delivered
    first. The same again changes nothing.
    """
    from teststrip.track.connection import Connection
    from teststrip.track.registry import Registry

    _check_flags(model_name, why, force=force)
    chosen = winner(bench, name, recipe_id)
    forced = force and not chosen.supported
    if not chosen.supported and not force:
        raise StudyError(_refusal(chosen))
    evidence = _evidence(chosen, why if forced else None)
    files, loras = _files(chosen, evidence)
    if bench.tracker is None:
        raise ConfigError("promote writes to MLflow; it cannot run without tracking")
    bench.tracker.is_needed(name, "promote")
    report = bench.report(name)
    run_id = record(bench, chosen.findings, report.files, report.metrics)
    bench.tracker.is_needed(name, "promote")
    run_id = run_id or record(bench, chosen.findings, report.files, report.metrics)
    version = Registry(Connection(bench.home)).register(
        model_name,
        run_id,
        chosen.recipe_id,
        files,
        loras,
        tags=_tags(chosen, why if forced else None),
        description=f"{chosen.standing} Recipe: {chosen.recipe.canonical}",
    )
    return Promotion(chosen, version, forced)


def _check_flags(model_name: str, why: str | None, *, force: bool) -> None:
    faults = []
    if not re.fullmatch(MODEL_NAME, model_name):
        faults.append(
            f"--model-name {model_name!r}: letters, digits, '.', '_' and '-' are accepted, "
            "at most 128, a letter or digit first"
        )
    if force and len((why or "").strip()) < LEAST_WHY:
        faults.append(f"--force: needs --why with a reason of at least {LEAST_WHY} characters")
    if why is not None and not force:
        faults.append("--why: goes with --force")
    if faults:
        raise ConfigError("promote: flags cannot be used", faults)


def _refusal(chosen: Winner) -> str:
    found, name = chosen.findings, chosen.findings.facts.name
    way = 'To promote it all the same: --force --why "..." (recorded)'
    if found.confirmed is None:
        return f"study {name!r}: not confirmed yet: teststrip study confirm {name}\n{way}"
    if chosen.recipe_id == found.facts.baseline:
        return (
            f"study {name!r}: recipe {chosen.recipe_id} is the baseline, which cannot be confirmed "
            f"against itself. {found.headline}\n{way}"
        )
    if chosen.row is None and found.confirmed.rows:
        return (
            f"study {name!r}: recipe {chosen.recipe_id} was not among those confirmed "
            f"({', '.join(row.a for row in found.confirmed.rows)}); raise --top: teststrip study "
            f"confirm {name} --top N\n{way}"
        )
    return (
        f"study {name!r}: the confirmation does not support recipe {chosen.recipe_id}: "
        f"{chosen.standing}\n{way}"
    )


def _evidence(chosen: Winner, why: str | None) -> dict[str, Any]:
    found = chosen.findings
    table = found.study.folder.table.read_bytes()
    return {
        "study": found.facts.name,
        "recipe_id": chosen.recipe_id,
        "objective": found.facts.objective,
        "higher_is_better": found.facts.higher_is_better,
        "standing": chosen.standing,
        "confirmed": chosen.supported,
        "forced": why is not None,
        "why": why,
        "table_sha256": hashlib.sha256(table).hexdigest(),
        **found.as_dict(),
    }


def _files(chosen: Winner, evidence: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, Path]]:
    """The version's own files, and the LoRA files that go with it by their place in it."""
    from teststrip.track.registry import lora_files

    listed, copied = lora_files(chosen.recipe)
    facts = chosen.shown.facts if chosen.shown else {}
    model = {
        "model": chosen.recipe.model,
        "revision": chosen.recipe.revision,
        "fingerprint": chosen.fingerprint,
        "dtype": facts.get("dtype") or chosen.recipe.dtype,
        "versions": dict(facts.get("versions") or {}),
        "loras": listed,
        "example": {
            "prompt": chosen.request.block.prompt,
            "seed": chosen.request.block.seed,
            "image_key": chosen.request.image_key(chosen.fingerprint),
        },
    }
    copies = texts(chosen)
    return {
        "recipe.json": f"{chosen.recipe.canonical}\n".encode(),
        "evidence.json": to_json(evidence),
        "model.json": to_json(model),
        "recipe.txt": copies["a1111"].encode(),
        "recipe.py": copies["diffusers"].encode(),
        "README.md": _readme(chosen, evidence).encode(),
    }, copied


def _readme(chosen: Winner, evidence: Mapping[str, Any]) -> str:
    reason = f"\nPromoted by force: {evidence['why']}\n" if evidence["forced"] else ""
    return f"""# Recipe {chosen.recipe_id} of study {chosen.findings.facts.name}

{chosen.standing}
{reason}
{chosen.findings.headline}

- `recipe.json`: everything but prompt and seed that decides an image
- `evidence.json`: what the held-out images showed, and the SHA-256 of the study's table
- `model.json`: model, revision, fingerprint, adapters with their SHA-256
- `recipe.py`, `recipe.txt`: the same as diffusers code and as A1111 text
"""


def _tags(chosen: Winner, why: str | None) -> dict[str, str]:
    row = chosen.row
    tags = {
        "study": chosen.findings.facts.name,
        "recipe_id": chosen.recipe_id,
        "model": chosen.recipe.model,
        "fingerprint": chosen.fingerprint,
        "objective": chosen.findings.facts.objective,
        "confirmed": str(chosen.supported).lower(),
        "forced": str(why is not None).lower(),
    }
    if why is not None:
        tags["why"] = why.strip()
    if row is not None:
        low, high = row.gain.low, row.gain.high
        tags |= {"prompts": str(row.prompts), "images": str(row.images)}
        tags["gain"] = f"{row.gain.mean:.6g}"
        tags["interval"] = "none" if low is None or high is None else f"{low:.6g} to {high:.6g}"
    return tags
