"""A project's folder, open: where its files lie, and outputs that are whole or not there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.files import storage_error
from teststrip.project.layout import PARAMS, STAGES, WORK, Stage
from teststrip.project.params import Params


@dataclass(frozen=True)
class Project:
    """A project whose params.yaml was checked. `home`: runs under way and caches."""

    root: Path
    params: Params
    home: Path

    @classmethod
    def open(cls, root: Path, home: Path | None = None) -> "Project":
        """Raises ConfigError where it is no project or its params.yaml has faults."""
        if not (root / PARAMS).is_file():
            raise ConfigError(
                f"{root}: no {PARAMS}, so this is no project; go to a project's folder, or make "
                "one: teststrip project init DIR"
            )
        return cls(root, Params.read(root / PARAMS), home or root / WORK)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In the order in which they run."""
        return STAGES[self.params.kind]

    def stage(self, name: str) -> Stage:
        """Raises ConfigError for a name that its kind does not have."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigError(
            f"stage {name!r}: kind {self.params.kind} has "
            + ", ".join(stage.name for stage in self.stages)
        )

    def path(self, name: str) -> Path:
        """A file or folder of the layout."""
        return self.root / name

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """An empty folder to fill, which takes the place of folder `name` at the end.

        A fault, or a process that dies, leaves the old one or none, never a part. Raises
        StorageError.
        """
        place = self.path(name)
        part = place.with_name(f".{place.name}-part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            shutil.rmtree(place, ignore_errors=True)
            part.rename(place)
        except OSError as exc:
            raise storage_error(place, exc) from exc
        finally:
            shutil.rmtree(part, ignore_errors=True)
