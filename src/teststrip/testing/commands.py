"""git, dvc and teststrip as a user types them, without anything that this machine has set up."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.testing.own_process import PATIENCE_S, QUIET

WHO = "A Tester"


@dataclass(frozen=True)
class Answer:
    """What a command said; `code`: its exit code."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err


class Commands:
    """Commands in one folder. `home`: an own, empty home; `settings`: more variables.

    Secrets, git's and DVC's settings of whoever runs the tests do not reach them. `dvc` finds the
    `teststrip` of this interpreter first.
    """

    def __init__(
        self, folder: Path, *, home: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.home = home or folder.parent / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = environment(self.home) | dict(settings or {})

    def at(self, folder: Path) -> "Commands":
        """The same in another folder."""
        other = Commands(folder, home=self.home)
        other.env = dict(self.env)
        return other

    def git(self, *arguments: str) -> str:
        """Raises AssertionError with what git said; returns what it printed."""
        return self.ok("git", *arguments)

    def dvc(self, *arguments: str) -> str:
        """Raises AssertionError with what DVC said; returns what it printed, both streams."""
        answer = self.run(*DVC, *arguments)
        assert answer.code == 0, f"dvc {arguments}: {answer}"  # noqa: S101 - used in tests alone
        return answer.said

    def dvc_json(self, *arguments: str) -> Any:
        """What `dvc ... --json` printed. Raises AssertionError with what DVC said."""
        return json.loads(self.ok(*DVC, *arguments, "--json"))

    def teststrip(self, *arguments: str) -> Answer:
        """`teststrip ...`, whatever comes of it."""
        return self.run(sys.executable, "-m", "teststrip", *arguments)

    def ok(self, *command: str) -> str:
        """Raises AssertionError unless it exits with 0; returns what it printed."""
        answer = self.run(*command)
        assert answer.code == 0, f"{command}: {answer}"  # noqa: S101 - used in tests alone
        return answer.out

    def run(self, *command: str) -> Answer:
        """Run it to its end, whatever comes of it."""
        done = subprocess.run(  # noqa: S603 - commands of tests
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=5 * PATIENCE_S,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def begin(self, message: str = "The project as init makes it") -> None:
        """git init, everything in one commit on branch main."""
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit(message)

    def commit(self, message: str) -> str:
        """Everything that is not ignored; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()


DVC = (sys.executable, "-m", "dvc")


def environment(home: Path) -> dict[str, str]:
    """Variables of a fresh user who lives in `home` and sends nothing to anybody."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith((*QUIET, "GIT_", "DVC_"))}
    for key in ("CI", "GITHUB_ACTIONS", "GITLAB_CI"):
        bare.pop(key, None)
    own = {
        "HOME": str(home),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), bare.get("PATH", ""))),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "DVC_NO_ANALYTICS": "1",
        "DVC_TEST": "1",  # no look for updates
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    for role in ("AUTHOR", "COMMITTER"):
        own |= {f"GIT_{role}_NAME": WHO, f"GIT_{role}_EMAIL": "tester@example.org"}
    return bare | own
