"""What the checks of one project share: its folder, git and DVC as they answer there."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from teststrip.config import read_yaml
from teststrip.errors import ConfigError
from teststrip.project.layout import PARAMS, PIPELINE, STAGES, Kind, Stage

# A question that hangs must not hold the doctor for ever; no healthy disk takes so long.
_LONGEST_S = 600


@dataclass(frozen=True)
class Said:
    """A command's answer. `code` 0: done."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """Its last words, in one line."""
        lines = [line for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else f"exit code {self.code}"

    @property
    def error(self) -> str:
        """What it gives as the error, in one line; git and DVC write it after a word."""
        for line in self.err.splitlines():
            word, _, rest = line.partition(": ")
            if word in ("ERROR", "fatal") and rest:
                return rest.strip()[:300]
        return self.last


@dataclass
class Visit:
    """One look at one project. Nothing in it is changed."""

    root: Path
    offline: bool = False

    @cached_property
    def raw_params(self) -> dict[str, Any]:
        """params.yaml as it is; empty where it cannot be read."""
        return _mapping(self.root / PARAMS)

    @cached_property
    def raw_pipeline(self) -> dict[str, Any]:
        """dvc.yaml as it is; empty where it cannot be read."""
        return _mapping(self.root / PIPELINE)

    @cached_property
    def kind(self) -> Kind | None:
        """As params.yaml says it, or None."""
        kind = self.raw_params.get("kind")
        return next((known for known in STAGES if known == kind), None)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Of its kind; none where that is not known."""
        return STAGES[self.kind] if self.kind else ()

    @cached_property
    def has_git(self) -> bool:
        """Whether git answers and the folder is in a repository."""
        if not shutil.which("git"):
            return False
        said = self.git("rev-parse", "--is-inside-work-tree")
        return said.code == 0 and said.out.strip() == "true"

    @cached_property
    def tracked(self) -> tuple[str, ...]:
        """Files below the folder that git keeps, relative to it."""
        if not self.has_git:
            return ()
        return tuple(name for name in self.git("ls-files", "-z").out.split("\0") if name)

    @cached_property
    def dvc_version(self) -> str:
        """Of the installed package; "" where there is none."""
        try:
            return version("dvc")
        except PackageNotFoundError:
            return ""

    @cached_property
    def status(self) -> dict[str, Any] | str:
        """`dvc status`: by stage and .dvc file what is out of date; or why DVC cannot tell."""
        said = self.dvc("status", "--json")
        try:
            found = json.loads(said.out) if said.code == 0 else None
        except ValueError:
            found = None
        return found if isinstance(found, dict) else said.error

    def git(self, *arguments: str) -> Said:
        """Ask git there; it takes no lock for that."""
        return self._ask("git", "--no-optional-locks", "-c", "core.quotePath=false", *arguments)

    def dvc(self, *arguments: str) -> Said:
        """Ask the DVC of this interpreter there."""
        return self._ask(sys.executable, "-m", "dvc", *arguments)

    def _ask(self, *command: str) -> Said:
        try:
            done = subprocess.run(  # noqa: S603 - git and dvc with our own arguments
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_LONGEST_S,
            )
        except OSError as exc:
            return Said(127, "", f"{command[0]}: {exc.strerror or exc}")
        except subprocess.TimeoutExpired:
            return Said(124, "", f"{command[0]} gave no answer in {_LONGEST_S} s")
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return Said(done.returncode, out, err)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = read_yaml(path)
    except ConfigError:  # the check of that file says what is wrong with it
        return {}
    return found if isinstance(found, dict) else {}
