"""Whose name is it? A run's folder is begun, gone on with, or refused."""

import shutil

import yaml

from teststrip.errors import ConfigError
from teststrip.files import write_atomic
from teststrip.study.folder import differences
from teststrip.train.checkpoints import checkpoints
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.result import Result


def claim(config: TrainConfig, folder: RunFolder, text: str | None) -> Result | None:
    """Write down what is trained; the result where that was finished before.

    A run without a checkpoint loses nothing, so a mended config may take its name. Raises
    ConfigError with every difference where the name stands for another config.
    """
    settled = config.model_dump(mode="json")
    if folder.exists():
        record = folder.read()
        changed = differences(record.get("config", {}), settled)
        if changed and checkpoints(folder.path):
            raise ConfigError(
                f"training run {config.name!r} was started with other settings and has "
                "checkpoints; give this one another name",
                changed,
            )
        if changed:
            _start_over(folder)
        elif record["state"] == "finished" and "result" in record:
            return Result.from_record(folder.path, record["result"])
    folder.write(state="running", why=None, kind=config.kind, steps=config.steps, config=settled)
    if text is None:
        given = config.model_dump(mode="json", exclude_unset=True)
        text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    write_atomic(folder.yaml, text.encode())
    return None


def _start_over(folder: RunFolder) -> None:
    """Forget a run that has no checkpoint."""
    for path in (
        folder.json,
        folder.yaml,
        folder.metrics,
        folder.held_out,
        folder.manifest,
        folder.progress,
        folder.path / "samples.parquet",
    ):
        path.unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.samples):
        shutil.rmtree(path, ignore_errors=True)
