"""compose.backup.sh: all volumes in one folder and back, with a stand-in for Docker.

The stand-in keeps volumes as folders and runs a container's script where they lie; what the script
asks of it is what it would ask of Docker.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy
SCRIPT = Path(__file__).parents[2] / "deploy" / "compose.backup.sh"
DOCKER = """#!{python}
import os, pathlib, re, subprocess, sys
here, asked = pathlib.Path({here!r}), sys.argv[1:]
with (here / "asked").open("a") as log:
    print(*(a for a in asked if "\\n" not in a), file=log)
if asked[:2] == ["volume", "inspect"]:
    sys.exit(not (here / asked[2]).is_dir())
elif asked[0] == "run":
    mounts = dict(reversed(a.rsplit(":", 1)) for b, a in zip(asked, asked[1:]) if b == "-v")
    assert re.search("@sha256:[0-9a-f]{{64}}$", asked[-3]), asked
    script = asked[-1].replace("/data", str(here / mounts["/data"]))
    script = script.replace("/backup", mounts["/backup"])
    if (here / "broken").exists() and mounts["/data"] == "teststrip_web":
        sys.exit(1)
    sys.exit(subprocess.run(["sh", asked[-2], script]).returncode)
elif "ps" in asked:
    print("track\\nweb")
"""


class Machine:
    """A folder with volumes, and how the script is run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        docker = folder / "docker"
        docker.write_text(DOCKER.format(python=sys.executable, here=str(folder)))
        docker.chmod(0o755)
        for name in ("postgres", "seaweedfs", "web"):
            (folder / f"teststrip_{name}" / "deep").mkdir(parents=True)
            (folder / f"teststrip_{name}" / "deep" / "file").write_text(f"of {name}")

    def run(self, *args: object, rc: int = 0) -> str:
        env = os.environ | {"DOCKER": str(self.folder / "docker")}
        command = [SCRIPT, *map(str, args)]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == rc, done.stderr
        return done.stdout + done.stderr

    def contents(self) -> dict[str, str]:
        found = self.folder.glob("teststrip_*/**/*")
        return {str(p.relative_to(self.folder)): p.read_text() for p in found if p.is_file()}

    def asked(self) -> list[str]:
        return [
            line.split("watch ", 1)[-1] for line in (self.folder / "asked").read_text().split("\n")
        ]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_was_saved_comes_back_and_what_ran_runs_again(machine, tmp_path):
    before = machine.contents()
    machine.run("save", tmp_path / "saved")
    (tmp_path / "teststrip_web" / "deep" / "file").write_text("changed")
    (tmp_path / "teststrip_web" / "new").write_text("came later")

    machine.run("load", tmp_path / "saved", "--yes")

    assert machine.contents() == before
    for verb in ("stop", "up -d --no-recreate track web"):
        assert machine.asked().count(verb) == 2
    assert (tmp_path / "saved").stat().st_mode & 0o077 == 0
    names = {"postgres.tar.gz", "seaweedfs.tar.gz", "web.tar.gz", "SHA256SUMS"}
    assert {p.name for p in (tmp_path / "saved").iterdir()} == names


def test_a_damaged_backup_changes_nothing(machine, tmp_path):
    machine.run("save", tmp_path / "saved")
    (tmp_path / "saved" / "web.tar.gz").write_bytes(b"not what it was")
    (tmp_path / "asked").unlink()
    before = machine.contents()

    said = machine.run("load", tmp_path / "saved", "--yes", rc=1)

    assert "is damaged; nothing was changed" in said
    assert machine.contents() == before
    assert not (tmp_path / "asked").exists(), "it did not even stop anything"


def test_nothing_is_replaced_without_a_yes(machine, tmp_path):
    machine.run("save", tmp_path / "saved")
    machine.run("load", tmp_path / "saved", rc=1)

    assert machine.asked().count("stop") == 1


def test_where_saving_fails_nothing_looks_like_a_backup_and_all_runs_again(machine, tmp_path):
    (tmp_path / "broken").touch()
    machine.run("save", tmp_path / "saved", rc=1)

    assert not list(tmp_path.glob("saved*"))
    assert "up -d --no-recreate track web" in machine.asked()


def test_what_is_there_is_not_written_over(machine, tmp_path):
    machine.run("save", tmp_path / "saved")
    assert "is there already" in machine.run("save", tmp_path / "saved", rc=1)
    assert "write: " in machine.run("save", rc=2)
    assert "is no backup" in machine.run("load", tmp_path / "nothing", "--yes", rc=1)
