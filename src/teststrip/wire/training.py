"""`train run` and `train resume`: a file or a name, this machine's settings, one training."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.wire.bench import settings

if TYPE_CHECKING:
    from teststrip.train.result import OnEvent, Result


def train_file(
    path: Path,
    changes: Sequence[str] = (),
    *,
    track: bool = True,
    on_event: "OnEvent | None" = None,
) -> "Result":
    """Train what a file says; goes on where an earlier run of it stopped.

    Raises ConfigError with every fault of the file.
    """
    from teststrip.train.config import TrainConfig
    from teststrip.train.run import start

    here = settings()
    config = TrainConfig.from_yaml(path, tuple(changes))
    text = None if changes else path.read_text(encoding="utf-8")
    return start(config, here.home, track=track, device=here.device, text=text, on_event=on_event)


def train_named(name: str, *, track: bool = True, on_event: "OnEvent | None" = None) -> "Result":
    """Go on with a run that was started before. Raises StudyError if there is none."""
    from teststrip.config import parse
    from teststrip.train.config import TrainConfig
    from teststrip.train.folder import RunFolder
    from teststrip.train.run import start

    here = settings()
    folder = RunFolder.of(here.home, name)
    config = parse(TrainConfig, folder.read().get("config"), str(folder.json))
    text = folder.yaml.read_text(encoding="utf-8") if folder.yaml.is_file() else None
    return start(config, here.home, track=track, device=here.device, text=text, on_event=on_event)


def speaks() -> bool:
    """Is this the process that prints? `accelerate launch` starts several."""
    return os.environ.get("RANK", "0") == "0"
