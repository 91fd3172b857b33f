"""model/: a training run without what a clock, a folder or a machine's speed wrote; and back.

The run's form is that of docs/runs-format.md, so the studio and `train select` read it. Left out:
states to resume from, times, speeds, memory, MLflow ids, the code's version (it stands in the lock
record). Adapters are named by their path in the project.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from teststrip import png
from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.files import storage_error
from teststrip.project.layout import MODEL
from teststrip.project.project import Project
from teststrip.recipe import Lora, Recipe
from teststrip.study.config import is_name
from teststrip.train.checkpoints import META, WEIGHTS, Checkpoint, checkpoints
from teststrip.train.folder import RunFolder
from teststrip.train.measure import table, written
from teststrip.train.measure.judging import means

TIMED = ("images_per_s", "memory_mb", "images_failed")
_RECORD = (
    "format",
    "kind",
    "steps",
    "state",
    "config",
    "base",
    "dataset_hash",
    "prompts",
    "scores",
)


@contextmanager
def inside(project: Project) -> Iterator[Project]:
    """The process stands in the project's folder for as long as it is open, as DVC starts stages.

    What params.yaml names relative to the project is found, and pictures and adapters are named
    so: the same stage gives the same bytes in any clone. Yields the project with whole paths.
    """
    whole = replace(project, root=project.root.resolve(), home=project.home.resolve())
    with chdir(whole.root):
        yield whole


def run_name(project: Project) -> str:
    """The name of the run in model/. Raises ConfigError where there is none or it is damaged."""
    return str(_record(project)["config"]["name"])


def restored(project: Project) -> RunFolder:
    """The run of model/ below `project.home`, as `train select` needs it; made anew if need be.

    A run there that has the same checkpoints is taken as it is. Raises ConfigError where model/ is
    not there or damaged, StudyError where the run is being trained, StorageError.
    """
    name = run_name(project)
    source, folder = project.path(MODEL), RunFolder.of(project.home, name)
    wanted, there = _digests(source), _digests(folder.path)
    if not wanted:
        raise ConfigError(f"{MODEL}: holds no whole checkpoint; run stage train again, or dvc pull")
    if wanted == there:
        return folder
    if folder.holder() is not None:
        raise StudyError(f"run {name!r} is being trained; select when it has ended")
    try:
        shutil.rmtree(folder.path, ignore_errors=True)
        part = folder.path.with_name(f".{name}-part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        part.rename(folder.path)
    except OSError as exc:
        raise storage_error(folder.path, exc) from exc
    return folder


def write_model(run: RunFolder, place: Path) -> None:
    """Fill the empty folder `place` with the finished run. Raises StudyError, StorageError."""
    record = run.read()
    found = checkpoints(run.path)
    rows = table.read(run.path / "samples.parquet")
    try:
        _write_json(place / "run.json", {key: record[key] for key in _RECORD if key in record})
        manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
        _write_json(place / "manifest.json", _plain_names(manifest))
        if run.held_out.is_file():
            shutil.copyfile(run.held_out, place / "held_out.jsonl")
        for one in found:
            _write_checkpoint(one, place / "checkpoints" / one.folder.name)
        _write_lines(place / "metrics.jsonl", numbers(run, rows, record.get("scores") or {}))
        if rows:
            keys = {row["png"]: _write_picture(run, row, found, place) for row in rows}
            same = [row | {"image_key": keys[row["png"]]} for row in rows]
            table.write(place / "samples.parquet", same, list(record.get("scores") or {}))
    except OSError as exc:
        if isinstance(exc, StorageError):
            raise
        raise storage_error(place, exc) from exc


def numbers(
    run: RunFolder, rows: Sequence[Mapping[str, Any]], scores: Mapping[str, bool]
) -> list[dict[str, Any]]:
    """metrics.jsonl, one row a step, without speeds; the scores' means are those of `rows`.

    A run that was killed and went on has the same rows as one that was not.
    """
    by_step: dict[int, dict[str, Any]] = {}
    for row in written.rows_of(run.metrics):
        kept = {key: value for key, value in row.items() if key not in (*TIMED, *scores)}
        by_step.setdefault(row["step"], {}).update(kept)
    for step in sorted({int(row["step"]) for row in rows}):
        own = [row for row in rows if row["step"] == step]
        by_step.setdefault(step, {"step": step}).update(means(own, scores))
    return [by_step[step] for step in sorted(by_step)]


def _record(project: Project) -> dict[str, Any]:
    path = project.path(MODEL) / "run.json"
    record: dict[str, Any] = {}
    with suppress(StudyError):
        record = RunFolder(path.parent).read()
    config = record.get("config")
    if not isinstance(config, dict) or not is_name(str(config.get("name", ""))):
        raise ConfigError(
            f"{MODEL}/run.json: not there or damaged; run stage train (dvc repro), or dvc pull "
            "where it was made elsewhere"
        )
    return record


def _digests(folder: Path) -> dict[int, str]:
    return {one.step: str(one.meta.get("sha256")) for one in checkpoints(folder)}


def _write_checkpoint(one: Checkpoint, place: Path) -> None:
    place.mkdir(parents=True)
    shutil.copyfile(one.weights, place / WEIGHTS)
    _write_json(place / META, {key: value for key, value in one.meta.items() if key != "commit"})


def _plain_names(manifest: dict[str, Any]) -> dict[str, Any]:
    """Class pictures lie in a cache under names of their own; here their content names them."""
    rows = [
        row | {"name": f"{row['sha256'][:24]}.png"} if row["split"] == "class" else row
        for row in manifest["pictures"]
    ]
    return manifest | {"pictures": rows}


def _write_picture(
    run: RunFolder, row: Mapping[str, Any], found: Sequence[Checkpoint], place: Path
) -> str:
    """A validation picture that names its adapter by its path in the project; its image key."""
    data = (run.path / row["png"]).read_bytes()
    facts = png.read(data)
    recipe = _in_project(facts.request.recipe, found)
    request = facts.request.model_copy(update={"recipe": recipe})
    key = request.image_key(str(facts.facts.get("fingerprint", "")))
    path = place / row["png"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png.write(png.pixels(data), request, {**facts.facts, "image_key": key}))
    return key


def _in_project(recipe: Recipe, found: Sequence[Checkpoint]) -> Recipe:
    """With each adapter of this run under its place in model/."""
    steps = {one.folder.name for one in found}
    loras = [
        Lora(path=f"{MODEL}/checkpoints/{Path(lora.path).parent.name}/{WEIGHTS}", scale=lora.scale)
        if Path(lora.path).parent.name in steps
        else lora
        for lora in recipe.loras
    ]
    return recipe.changed(loras=tuple(loras))


def _write_json(path: Path, data: Any) -> None:
    """In the order that the run has: the selection splits prompts as they come."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
