"""A project's files at a revision, or as they lie here: the same questions to both."""

from dataclasses import dataclass, field
from pathlib import Path

from teststrip.errors import StorageError
from teststrip.project.revision.kept import Kept
from teststrip.project.revision.repository import Repository

MOST_BYTES = 64_000_000


@dataclass(frozen=True)
class Revision:
    """`name`: what people call it; `commit` empty: the working tree."""

    name: str
    root: Path
    commit: str
    repository: Repository | None = field(repr=False)
    kept: Kept = field(repr=False)
    dirty: bool = False

    def find(self, path: str) -> bytes | None:
        """A small file, as git keeps it or as it lies here; None where there is none.

        Raises StudyError and StorageError where it cannot be read.
        """
        if self.commit and self.repository is not None:
            return self.repository.read(self.commit, path)
        return self._here(path)

    def read(self, path: str) -> bytes:
        """A large file: from the folder, git, DVC's cache or remote. StorageError says why not."""
        found = self.find(path)
        return self.kept.read(path) if found is None else found

    def _here(self, path: str) -> bytes | None:
        place = self.root / path
        if not place.resolve().is_relative_to(self.root.resolve()):
            return None  # a link into a cache elsewhere: DVC reads it; any other way out ends there
        try:
            if not place.is_file():
                return None
            with place.open("rb") as file:
                return file.read(MOST_BYTES)
        except OSError as exc:
            raise StorageError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def at(root: Path, ref: str) -> Revision:
    """The project as it was. Raises StudyError without git, ConfigError for an unknown `ref`."""
    repository = Repository.around(root)
    commit = repository.commit(ref)
    short = repository.short(commit)
    name = short if commit.startswith(ref) else f"{ref} ({short})"
    return Revision(name, root, commit, repository, Kept(root, commit))


def here(root: Path, repository: Repository | None = None) -> Revision:
    """The project as it lies here, with what was not committed yet."""
    name, dirty = "this folder", False
    if repository is not None:
        name, dirty = f"now ({repository.short(repository.commit('HEAD'))})", repository.dirty()
        name = f"{name[:-1]} and changes that are not committed)" if dirty else name
    return Revision(name, root, "", repository, Kept(root, ""), dirty)
