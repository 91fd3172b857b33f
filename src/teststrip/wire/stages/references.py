"""What `likeness` in infer.scorers is measured against: pictures that were held out of training.

A scorer of prompts takes a new subject for a bad picture of its class. How like the subject's own
pictures it is can be asked only of those that the adapter never saw; `select` keeps them with it.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.project.layout import ADAPTER, PREPARED
from teststrip.project.project import Project
from teststrip.train.folder import RunFolder

HELD_OUT = "held-out"
LIKENESS = "likeness"


def keep(project: Project, run: RunFolder, place: Path) -> None:
    """Copy the run's held-out pictures to `place`/held-out; none are, no folder. Raises OSError."""
    rows = json.loads(run.manifest.read_text(encoding="utf-8"))["pictures"]
    names = sorted(row["name"] for row in rows if row["split"] == "held_out")
    for name in names:
        (place / HELD_OUT).mkdir(exist_ok=True)
        shutil.copyfile(project.path(PREPARED) / name, place / HELD_OUT / name)


def options(project: Project, scorer: str) -> dict[str, Any]:
    """Options of a scorer that params.yaml names. Raises ConfigError: nothing to be like."""
    if scorer != LIKENESS:
        return {}
    folder = project.path(ADAPTER) / HELD_OUT
    if not folder.is_dir():
        raise ConfigError(
            "infer.scorers: likeness compares with pictures that were held out of training, and "
            "there are none; set train.settings.data.held_out above 0, or remove it (kind study)"
        )
    return {"folder": str(folder)}
