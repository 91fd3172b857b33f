"""What an image has installed, without building it: an environment of links to our own packages.

A container that lacks a package fails when it is started. Here the packages that an image's lock
names, and no other, are linked from the environment of the tests into a fresh one.
"""

import importlib.metadata
import os
import re
import sys
import venv
from collections import defaultdict
from pathlib import Path

PROGRAM = "import sys\nfrom teststrip.cli.main import main\nsys.exit(main())\n"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    """Name -> version of what a lock installs."""
    return dict(PIN.findall(lock.read_text(encoding="utf-8")))


def make(folder: Path, names: set[str], *, sources: Path) -> Path:
    """An environment in `folder` with these distributions and Teststrip; its folder of programs.

    `sources`: where Teststrip's own code is. Raises AssertionError for one that is not installed
    here, since nothing could be linked.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    records = {dist.name: _record(dist) for dist in importlib.metadata.distributions()}
    owners: dict[str, set[str]] = defaultdict(set)
    for name, (_, paths) in records.items():
        for path in paths:
            owners[path.split("/", 1)[0]].add(name)
    known = {normal(name): name for name in records}
    for name in names | {"teststrip"}:
        assert normal(name) in known, f"{name} is not installed here"  # noqa: S101 - of tests
        own = known[normal(name)]
        root, paths = records[own]
        _link(root, site, paths, {top for top, of in owners.items() if of == {own}})
    (site / "teststrip-sources.pth").write_text(f"{sources}\n")
    program = folder / "bin" / "teststrip"
    program.write_text(f"#!{folder}/bin/python\n{PROGRAM}")
    program.chmod(0o755)
    return folder / "bin"


def normal(name: str) -> str:
    """A name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _record(dist: importlib.metadata.Distribution) -> tuple[Path, list[str]]:
    text = dist.read_text("RECORD") or ""
    paths = [line.rsplit(",", 2)[0].strip('"') for line in text.splitlines()]
    return Path(str(dist.locate_file(""))), [
        p for p in paths if p and not p.startswith(("..", "/"))
    ]


def _link(root: Path, site: Path, paths: list[str], alone: set[str]) -> None:
    """A whole folder where it is this distribution's alone, else file by file (namespaces)."""
    for path in paths:
        top = path.split("/", 1)[0]
        linked = top if top in alone else path
        if os.path.lexists(site / linked) or not (root / linked).exists():
            continue
        if top not in alone and "__pycache__" in path:
            continue
        (site / linked).parent.mkdir(parents=True, exist_ok=True)
        (site / linked).symlink_to(root / linked)


def python_of(folder: Path) -> Path:
    """The interpreter of an environment that was made here."""
    return folder / "bin" / Path(sys.executable).name
