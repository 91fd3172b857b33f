"""The git repository around a project: what a revision means, and files as they were at it.

git itself is asked, with no terminal to ask back at and no lock taken. A symbolic link is no file
here: at another revision it would lead into today's working tree.
"""

import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from teststrip.errors import ConfigError, StudyError

TIME_LIMIT_S = 120
MOST_BYTES = 64_000_000
FILES = ("100644", "100755")


@dataclass(frozen=True)
class Repository:
    """`root`: the project's folder; `prefix`: where it lies in its repository (`` or `a/b/`)."""

    root: Path
    prefix: str
    shallow: bool

    @classmethod
    def around(cls, root: Path) -> "Repository":
        """Raises StudyError where the folder is in no git repository, or git is missing."""
        found = _git(root, "rev-parse", "--is-shallow-repository", "--show-prefix")
        if found.returncode:
            why = _words(found)
            if "not a git repository" in why:
                why = "it is in no git repository; git init, then commit the project"
            raise StudyError(f"{root.resolve()}: no revision can be read: {why}")
        shallow, prefix, *_ = [*found.stdout.decode("utf-8", "replace").split("\n"), ""]
        return cls(root, prefix, shallow == "true")

    def commit(self, ref: str) -> str:
        """The full hash that `ref` (a branch, a tag, HEAD~1, a hash) stands for.

        Raises ConfigError where there is none: a clone of a few commits alone is said.
        """
        if not ref or ref.startswith("-") or "\0" in ref:
            raise ConfigError(f"revision {ref!r}: a branch, a tag, HEAD~1 or a hash is accepted")
        found = _git(self.root, "rev-parse", "--verify", "--quiet", ref + "^{commit}")
        commit = found.stdout.decode("ascii", "replace").strip()
        if not found.returncode and commit:
            return commit
        if self.shallow:
            raise ConfigError(
                f"revision {ref!r} is not in this clone, which holds the last commits alone; fetch "
                "the rest: git fetch --unshallow (GitLab: GIT_DEPTH: 0; GitHub: fetch-depth: 0)"
            )
        if not _git(self.root, "rev-parse", "--verify", "--quiet", "HEAD").returncode:
            near = _words(_git(self.root, "branch", "--all", "--format=%(refname:short)"))
            known = ", ".join(near.split()[:8])
            raise ConfigError(
                f"revision {ref!r} is not in this repository; its branches are {known or 'none'}; "
                "git fetch brings those of the server"
            )
        raise ConfigError(
            f"revision {ref!r}: this repository has no commit yet; git add -A, then git commit"
        )

    def short(self, commit: str) -> str:
        """The first eight digits, which is what people read."""
        return commit[:8]

    def dirty(self) -> bool:
        """Files of the project were changed since the last commit, or are not in git."""
        found = _git(self.root, "status", "--porcelain", "--untracked-files=normal", "--", ".")
        return bool(found.stdout.strip())

    def read(self, commit: str, path: str) -> bytes | None:
        """A project's file at a commit; None where git has none there. Raises StudyError."""
        blob = _blobs(self, commit).get(path)
        if blob is None:
            return None
        name, size = blob
        if size > MOST_BYTES:
            raise StudyError(f"{path} at {commit[:8]}: {size} bytes, {MOST_BYTES} are accepted")
        found = _git(self.root, "cat-file", "blob", name)
        if found.returncode:  # a partial clone whose server is away
            raise StudyError(f"{path} at {commit[:8]}: git cannot read it: {_words(found)}")
        return found.stdout


@lru_cache(maxsize=8)
def _blobs(repository: Repository, commit: str) -> dict[str, tuple[str, int]]:
    """path in the project -> (blob, bytes)."""
    below = [repository.prefix] if repository.prefix else []
    found = _git(repository.root, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, *below)
    if found.returncode:
        raise StudyError(f"{repository.root}: files of {commit[:8]}: {_words(found)}")
    out = {}
    for line in found.stdout.decode("utf-8", "surrogateescape").split("\0"):
        facts, _, name = line.partition("\t")
        parts = facts.split()
        if len(parts) == 4 and parts[0] in FILES and name.startswith(repository.prefix):
            out[name.removeprefix(repository.prefix)] = (parts[2], int(parts[3]))
    return out


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Raises StudyError where git is missing or does not answer."""
    asks = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(  # noqa: S603 - our words; a revision never begins with a dash
            ["git", "-C", str(root), *arguments],  # noqa: S607
            env=os.environ | asks,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except FileNotFoundError as exc:
        raise StudyError("git is not installed, or not on PATH; a report needs it") from exc
    except subprocess.TimeoutExpired as exc:
        what = f"git {arguments[0]} in {root}"
        raise StudyError(f"{what}: no answer within {TIME_LIMIT_S} s") from exc


def _words(found: "subprocess.CompletedProcess[bytes]") -> str:
    return (found.stderr or found.stdout).decode("utf-8", "replace").strip()[:500]
