"""Export a run's checkpoint; bring adapters from the registry to a file here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teststrip.train.export.formats import Exported
    from teststrip.train.export.source import Source

SCHEME = "models:/"


@dataclass(frozen=True)
class Export:
    """What was exported, and from what."""

    source: "Source"
    files: "list[Exported]"

    def __str__(self) -> str:
        from teststrip.train.export.source import NEWEST

        source = self.source
        lines = [f"{source.name}: step {source.step} at scale {source.scale:g}, {source.chosen}"]
        if source.trigger:
            lines.append(f"  trigger    {source.trigger}")
        lines += [f"  {file}" for file in self.files]
        if source.chosen == NEWEST:
            lines.append(f"  to choose by evidence: teststrip train select {source.name}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": self.source.name,
            "step": self.source.step,
            "scale": self.source.scale,
            "chosen": self.source.chosen,
            "trigger": self.source.trigger,
            "base": dict(self.source.meta.get("base") or {}),
            "weights_sha256": self.source.adapter.digest,
            "files": [file.as_dict() for file in self.files],
        }


def export_run(  # noqa: PLR0917 - the flags of one command
    home: Path,
    name: str,
    formats: Sequence[str],
    step: int | None = None,
    scale: float | None = None,
    out: Path | None = None,
    on_done: "Callable[[Exported], None]" = lambda _: None,
) -> Export:
    """Write run `name`'s checkpoint in `formats` to `out`, else `exports/` of the run."""
    from teststrip.train.export.formats import export
    from teststrip.train.export.source import find

    source = find(home, name, step, scale)
    return Export(source, export(source, formats, out or source.folder.path / "exports", on_done))


def local_loras(loras: Sequence[dict[str, Any]], home: Path) -> list[dict[str, Any]]:
    """Recipe fields of LoRAs whose registry addresses are files here, named by their content.

    An address without a scale takes the one it was registered with. Raises ConfigError,
    StorageError.
    """
    return [_local(lora, home) if lora["path"].startswith(SCHEME) else lora for lora in loras]


def _local(lora: dict[str, Any], home: Path) -> dict[str, Any]:
    from teststrip.track.adapters import fetch_adapter
    from teststrip.track.connection import Connection

    found = fetch_adapter(Connection(home), lora["path"], home.resolve() / "adapters")
    return {"scale": found.scale} | lora | {"path": str(found.path)}
