"""Stage train: a training run in the project's home, and model/ without what a clock wrote.

A run is named by its config, pictures and base model: a killed stage goes on where it was, and
other parameters never meet its folder. The same bytes come out on one machine's CPU with the same
number of threads.
"""

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.engine import device
from teststrip.errors import ConfigError, StudyError
from teststrip.files import write_atomic
from teststrip.project.curves import VAL_LOSS, curves_of
from teststrip.project.layout import CURVES, MODEL
from teststrip.project.metrics import Scored, gain_of, mean_of, numbers, write_metrics
from teststrip.project.project import Project
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.measure import table, written
from teststrip.train.result import Event, OnEvent, Result
from teststrip.wire.stages import Here, Made, canonical
from teststrip.wire.stages.canonical import inside
from teststrip.wire.stages.train_config import Resolved, code_hash, in_params, resolve

KEPT = 3
MONTH_S = 30 * 86_400
BASE = 0
CODE = "code"
log = logging.getLogger(__name__)


def run(project: Project, here: Here) -> Made:
    """Write model/, metrics/train.json and plots/curves.csv.

    SIGTERM and Ctrl-C leave a checkpoint, from which the next call goes on. Raises ConfigError
    with every wrong parameter, ModelError, StudyError where it was stopped or its numbers broke.
    """
    with inside(project) as whole:
        found = resolve(whole, here.device)
        device.same_threads()
        result = _train(whole, here, found.config)
        if os.environ.get("RANK", "0") != "0":
            return Made()  # one of several processes on several GPUs: the first one writes
        folder = RunFolder.of(whole.home, found.config.name)
        with whole.replacing(MODEL) as place:
            canonical.write_model(folder, place)
        written_run = RunFolder(whole.path(MODEL))
        rows, scores = written.rows_of(written_run.metrics), written_run.read().get("scores") or {}
        curves_of(rows, sorted(scores)).write(whole.path(CURVES))
        metrics = metrics_of(written_run, rows, scores)
        write_metrics(whole.path("metrics/train.json"), metrics)
        _forget_old(whole.home, found.config)
        return _made(found, folder, result, metrics, here)


def _train(project: Project, here: Here, config: TrainConfig) -> Result:
    from teststrip.train.run import start

    if os.environ.get("RANK", "0") == "0":
        _of_this_code(RunFolder.of(project.home, config.name))
    on_event = _told(here)
    try:
        result = start(
            config, project.home, track=here.track, device=here.device, on_event=on_event
        )
    except ConfigError as exc:
        raise ConfigError(in_params(exc.what), [in_params(one) for one in exc.faults]) from exc
    if result.state == "stopped":
        raise StudyError(
            f"stage train: {result.why}; what was learned so far is kept, and the next run of the "
            "stage (dvc repro) goes on from there"
        )
    if result.state != "finished":
        raise StudyError(f"stage train: {in_params(result.why)}")
    return result


def _of_this_code(folder: RunFolder) -> None:
    """Forget a run that other code began: half of each would be nobody's result."""
    marker = folder.path / CODE
    if folder.holder() is not None:
        return  # `start` says who
    try:
        same = marker.read_text(encoding="utf-8") == code_hash()
    except OSError:
        same = False
    if not same:
        if folder.exists():
            log.info("run %s was begun by other code and is begun anew", folder.name)
        shutil.rmtree(folder.path, ignore_errors=True)
        write_atomic(marker, code_hash().encode())


def _told(here: Here) -> OnEvent:
    def on_event(event: Event) -> None:
        if event.kind == "prepare":
            here.progress(event.text, event.step, event.steps)
        elif event.kind in ("step", "held_out", "end"):
            shown = {"loss": "loss", VAL_LOSS: "held-out loss"}
            facts = [
                f"{word} {event.numbers[k]:.4f}" for k, word in shown.items() if k in event.numbers
            ]
            here.progress(", ".join(["training", *facts]), event.step, event.steps)

    return on_event


def metrics_of(
    run: RunFolder, rows: Sequence[Mapping[str, Any]], scores: Mapping[str, bool]
) -> dict[str, Any]:
    """What the run comes to: the last losses, and the last checkpoint against the base model."""
    record = run.read()
    found: dict[str, Any] = {"steps": record["steps"]}
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    if losses:
        found["loss"] = losses[-1]
    measured = {int(row["step"]): row[VAL_LOSS] for row in rows if row.get(VAL_LOSS) is not None}
    if measured:
        best = min(measured, key=lambda step: (measured[step], step))
        found[VAL_LOSS] = {
            "last": measured[max(measured)],
            "best": measured[best],
            "best_step": best,
        } | _held_out(run, max(measured))
    samples = table.read(run.path / "samples.parquet")
    if samples and scores:
        last = max(int(row["step"]) for row in samples)
        before, after = ([r for r in samples if r["step"] == step] for step in (BASE, last))
        found["validation"] = {
            name: {
                "base": mean_of(_scored(before, name)),
                "last": mean_of(_scored(after, name)),
                "gain": gain_of(_scored(after, name), _scored(before, name), higher_is_better=up),
            }
            for name, up in sorted(scores.items())
            if _scored(before, name) and _scored(after, name)
        }
    return found


def _held_out(run: RunFolder, last: int) -> dict[str, Any]:
    """The base model's loss, the pictures, and the gain of the last step, paired by picture."""
    import numpy as np

    from teststrip.evidence.interval import interval

    losses: dict[int, dict[str, float]] = {}
    for row in written.rows_of(run.held_out):
        if row.get("loss") is not None:
            losses.setdefault(row["step"], {})[row["picture"]] = float(row["loss"])
    base, end = losses.get(BASE, {}), losses.get(last, {})
    pairs = np.array([base[name] - end[name] for name in sorted(base.keys() & end.keys())])
    gain = numbers(interval(pairs))
    gain.pop("prompts")
    found: dict[str, Any] = {"pictures": len(base)}
    if base:
        found["base"] = sum(base.values()) / len(base)
        found["gain"] = gain
    return found


def _scored(rows: Sequence[Mapping[str, Any]], column: str) -> list[Scored]:
    known = [row for row in rows if row.get(column) is not None]
    return [Scored(str(row["prompt_id"]), int(row["seed"]), float(row[column])) for row in known]


def _made(
    found: Resolved, folder: RunFolder, result: Result, metrics: Mapping[str, Any], here: Here
) -> Made:
    loss = metrics.get(VAL_LOSS)
    said = f"{result.steps} steps"
    if loss and "base" in loss:
        said += (
            f", held-out loss {loss['base']:.4f} -> {loss['last']:.4f}"
            f" (lowest {loss['best']:.4f} at step {loss['best_step']})"
        )
    return Made(
        resolved=found.values,
        model=dict(folder.read().get("base") or {}),
        device=device.named(here.device),
        said=said,
    )


def _forget_old(home: Path, config: TrainConfig) -> None:
    """Of earlier runs of projects the newest few are kept: model/ has what they made.

    One that did not end may still be gone on with, so it is kept for a month.
    """
    kind, _, own = config.name.rpartition("-")
    finished: list[tuple[float, RunFolder]] = []
    for path in (home / "runs").glob(f"{kind}-{'[0-9a-f]' * len(own)}"):
        folder = RunFolder(path)
        try:
            changed, state = folder.json.stat().st_mtime, folder.read()["state"]
        except (OSError, StudyError):
            continue
        if path.name == config.name or folder.holder() is not None:
            continue
        if state == "finished":
            finished.append((changed, folder))
        elif time.time() - changed > MONTH_S:
            shutil.rmtree(path, ignore_errors=True)
    for _, folder in sorted(finished, key=lambda one: one[0])[:-KEPT]:
        shutil.rmtree(folder.path, ignore_errors=True)
