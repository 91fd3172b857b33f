"""What a checkpoint came from: base model, data, code."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from teststrip.train.config import TrainConfig
from teststrip.train.model import Trainable


def lineage_of(config: TrainConfig, model: Trainable, dataset_hash: str) -> dict[str, Any]:
    """Goes into run.json and every checkpoint.json."""
    return {
        "base": {
            "model": config.base.model,
            "revision": config.base.revision,
            "fingerprint": model.fingerprint,
        },
        "dataset_hash": dataset_hash,
        "commit": code_version(),
    }


def code_version() -> str:
    """The package's version, and the git commit where it runs from a checkout."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return version("teststrip")
    commit = found.stdout.strip() if found.returncode == 0 else ""
    return f"{version('teststrip')}+{commit}" if commit else version("teststrip")
