"""What a run tells while it goes, and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """What just happened, for progress bars and searches. `numbers`: loss, val_loss, lr, ..."""

    kind: Literal["prepare", "step", "held_out", "checkpoint", "rolled_back", "end"]
    step: int
    steps: int
    numbers: dict[str, float] = field(default_factory=dict)
    text: str = ""


OnEvent = Callable[[Event], None]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Result:
    """How a run ended. `state`: finished, stopped or failed, `why` in one sentence.

    `loss`, `val_loss`: the last ones measured. `samples_seen`: pictures trained on, repeats
    counted. `seconds`: of this process, 0 where nothing was left to do.
    """

    name: str
    folder: Path
    state: str
    why: str
    steps: int
    samples_seen: int
    loss: float | None = None
    val_loss: float | None = None
    skipped: int = 0
    checkpoint: Path | None = None
    seconds: float = 0.0

    def changed(self, **fields: Any) -> "Result":
        """A copy with some fields changed."""
        return replace(self, **fields)

    def as_record(self) -> dict[str, Any]:
        """For run.json: no path of this machine."""
        steps = {"checkpoint": self.checkpoint.name if self.checkpoint else None}
        return {k: v for k, v in asdict(self).items() if k != "folder"} | steps

    @classmethod
    def from_record(cls, folder: Path, record: Mapping[str, Any]) -> "Result":
        """What `as_record` wrote; nothing was done now, so it took no time."""
        name = record["checkpoint"]
        made = folder / "checkpoints" / name if name else None
        return cls(**dict(record) | {"folder": folder, "checkpoint": made, "seconds": 0.0})

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
