#!/usr/bin/env python
"""Writes locks/*.txt: what each image installs, with hashes. Needs uv (`pip install uv`).

    python deploy/docker/lock.py          write them
    python deploy/docker/lock.py --check  say which are out of date; exit 1

constraints.txt says which versions (it has no hashes: torch for CPUs comes from another place than
PyPI and has others). Here each version gets the hashes of the files that an image can install:
wheels for Linux on x86-64 and Arm, or the source where there is no wheel. Run it after any change
of pyproject.toml or constraints.txt; a test compares both.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PYTHON = "3.11.9"  # or newer of 3.11: some packages are for older ones alone
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")  # the first says which packages
# The extras of each image. A CPU worker gets torch in a step of its own, by version alone.
EXTRAS = {
    "track": ("server",),
    "web": ("service", "track"),
    "studio": ("studio", "report", "track"),
    "worker-cpu": ("service", "engine", "study", "score", "report", "track"),
    "worker-cuda": ("service", "engine", "study", "score", "report", "track"),
}
TOOLS = "hatchling==1.27.0\nuv==0.13.9\n"  # build the wheel, install the rest
NOT_ON_CPU = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
WHEEL = re.compile(r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$")


def main() -> int:
    """Write or compare all of them; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    changed = []
    for name in ("tools", *EXTRAS):
        path, made = HERE / "locks" / f"{name}.txt", lock(name)
        if not path.exists() or path.read_text(encoding="utf-8") != made:
            changed.append(path.name)
            if not check:
                path.write_text(made, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(changed) or 'none'}")
    return int(check and bool(changed))


def lock(name: str) -> str:
    """The text of locks/<name>.txt: NAME==VERSION with the hashes of its files, by name."""
    lines = [f"# {name}: made by deploy/docker/lock.py from constraints.txt\n"]
    on_each = [{str(p["name"]): p for p in resolved(name, platform)} for platform in PLATFORMS]
    for package in sorted(on_each[0]):
        if name == "worker-cpu" and NOT_ON_CPU.fullmatch(package):
            continue
        found = [packages[package] for packages in on_each if package in packages]
        hashes = sorted({file["hashes"]["sha256"] for p in found for file in files(p)})
        wanted = [f"{package}=={found[0]['version']}"]
        lines.append(" \\\n".join(wanted + [f"    --hash=sha256:{h}" for h in hashes]) + "\n")
    return "".join(lines)


def resolved(name: str, platform: str) -> list[dict[str, Any]]:
    """The packages of an image and their files, from uv's resolver."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "pylock.toml"
        asked: list[str] = ["pyproject.toml"]
        if name == "tools":
            Path(folder, "tools.in").write_text(TOOLS)
            asked = [str(Path(folder, "tools.in"))]
        else:
            asked += [flag for extra in EXTRAS[name] for flag in ("--extra", extra)]
        command = [os.environ.get("UV", "uv"), "pip", "compile", "--quiet", *asked]
        command += ["--constraints", "constraints.txt", "--no-emit-package", "teststrip"]
        command += ["--python-version", PYTHON, "--python-platform", platform]
        command += ["--format", "pylock.toml", "--output-file", str(out)]
        subprocess.run(  # noqa: S603 - uv, as this file says
            command,
            cwd=REPOSITORY,
            # torch as PyPI has it, not as this machine may be set up to get it
            env={k: v for k, v in os.environ.items() if k not in ("UV_FIND_LINKS", "UV_INDEX")},
            check=True,
        )
        return list(tomllib.loads(out.read_text(encoding="utf-8"))["packages"])


def files(package: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What an image may install of it: fitting wheels, or the source."""
    wheels = [wheel for wheel in package.get("wheels", []) if fits(wheel)]
    yield from wheels or [package["sdist"]]


def fits(wheel: dict[str, Any]) -> bool:
    """Can CPython 3.11 of python:3.11-slim (glibc) on x86-64 or Arm install this wheel?"""
    name = wheel.get("name") or wheel["url"].rsplit("/", 1)[-1]
    found = WHEEL.search(name)
    if found is None:
        return False
    pythons, abis = found["python"].split("."), found["abi"].split(".")
    is_own = "cp311" in pythons and "cp311" in abis
    is_any = "none" in abis and bool({"py3", "py2.py3", "py311", "cp311"} & set(pythons))
    is_stable = "abi3" in abis and any(
        p.startswith("cp3") and int(p.removeprefix("cp3")) <= 11 for p in pythons
    )
    where = found["platform"]
    is_linux = where == "any" or (
        "linux" in where and "musl" not in where and ("x86_64" in where or "aarch64" in where)
    )
    return (is_own or is_any or is_stable) and is_linux


if __name__ == "__main__":
    sys.exit(main())
