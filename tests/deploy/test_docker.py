"""The images: what they install, that it is enough, and that each one's own command starts here.

No image is built: there is no Docker where these tests run. What a container would have is made
without one: an environment of exactly the locked packages, the Dockerfile's variables and command,
a user who may write to /data and /tmp alone.
"""

import importlib.metadata
import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from teststrip.testing import image_environment as image
from teststrip.testing.dockerfile import Dockerfile
from teststrip.testing.image_process import ImageProcess

pytestmark = pytest.mark.deploy
REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "deploy" / "docker"
IMAGES = Dockerfile(DOCKER / "Dockerfile")
FINAL = ("track", "web", "studio", "worker-cpu", "worker-cuda")
EXTRAS = {
    "track": {"server"},
    "web": {"service", "track"},
    "studio": {"studio", "report", "track"},
    "worker-cpu": {"service", "engine", "study", "score", "report", "track"},
    "worker-cuda": {"service", "engine", "study", "score", "report", "track"},
}
GPU_ALONE = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
USER = 10001


def test_hadolint_finds_nothing(tool):
    tool("hadolint", DOCKER / "Dockerfile")


def test_what_is_not_ours_is_pinned_by_digest():
    bases = [below for below, _ in IMAGES.stages.values() if below not in IMAGES.stages]

    assert bases
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base) for base in bases)


@pytest.mark.parametrize("target", FINAL)
def test_each_image_runs_as_nobody_and_says_what_it_is_and_how_it_is(target):
    own = IMAGES.lines(target)
    labels = " ".join(line for line in own if line.startswith("LABEL"))

    assert IMAGES.last(target, "USER") == f"USER {USER}:{USER}"
    assert own[-1].startswith(("USER", "CMD", "HEALTHCHECK"))
    assert not any("RUN" in line for line in own[own.index(IMAGES.last(target, "USER")) :])
    port = re.search(r"127\.0\.0\.1:(\d+)/", IMAGES.health(target)[-1])[1]
    assert f"EXPOSE {port}" in own
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    # Neither pip's tools nor the sources: what builds stays where it was built
    assert not any("COPY src" in line or line.startswith("ADD ") for line in own)


def test_every_install_checks_hashes_but_that_of_torch_for_cpus():
    installs = re.findall(r"pip install [^&\n]*", re.sub(r"\\\n\s*", " ", IMAGES.text))

    unchecked = [i for i in installs if "--require-hashes" not in i]
    assert len(installs) - len(unchecked) == 6
    assert [i.strip() for i in unchecked] == [
        "pip install -q --offline --no-deps /dist/*.whl",
        "pip install -q --no-deps --torch-backend cpu torch==2.13.0",
    ]
    assert all("--no-deps" in i for i in installs)


@pytest.mark.parametrize("name", ["tools", *FINAL])
def test_a_lock_has_the_versions_of_constraints_and_a_hash_for_each(name):
    text = (DOCKER / "locks" / f"{name}.txt").read_text()
    constraints = versions_for_python_3_11()
    found = image.pins(DOCKER / "locks" / f"{name}.txt")

    assert found
    entries = re.split(r"\n(?=\S)", text.partition("\n")[2].strip())
    assert len(entries) == len(found)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)
    if name != "tools":
        assert found == {package: constraints[package] for package in found}


@pytest.mark.parametrize("target", FINAL)
def test_a_lock_holds_what_its_extras_need_and_no_more(target):
    needed = closure(EXTRAS[target])
    found = {image.normal(name) for name in image.pins(DOCKER / "locks" / f"{target}.txt")}

    if target == "worker-cpu":
        assert not any(GPU_ALONE.fullmatch(name) for name in found)
        found.add("torch")
    if target == "worker-cuda":  # this machine's torch is without CUDA, and asks for none of these
        found = {n for n in found if n == "torch" or not GPU_ALONE.fullmatch(n)} | (needed & found)
    assert needed - found == set()
    assert found - needed == set(), "no extra asks for it: run deploy/docker/lock.py"
    if not target.startswith("worker"):
        assert "torch" not in found


def versions_for_python_3_11() -> dict[str, str]:
    """constraints.txt has lines for several versions of Python."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    needs = [Requirement(line) for line in lines if line.strip()]
    here = {"python_full_version": "3.11.9", "python_version": "3.11", "sys_platform": "linux"}
    fitting = [need for need in needs if not need.marker or need.marker.evaluate(here)]
    return {need.name: str(need.specifier).removeprefix("==") for need in fitting}


def closure(extras: set[str]) -> set[str]:
    """The distributions that Teststrip needs with these extras, as installed here."""
    found: set[str] = set()
    asked = [("teststrip", frozenset(extras))]
    seen = set()
    while asked:
        name, wanted = asked.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            need = Requirement(text)
            marker = need.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in wanted or {""}):
                continue
            asked.append((image.normal(need.name), frozenset(need.extras)))
    return found - {"teststrip"}


def test_the_tools_install_and_build_what_is_ours_as_the_dockerfile_says(tmp_path):
    """The stages `tools` and `ours`, run here: pip with hashes, the wheel without network."""
    places = {name: tmp_path / name for name in ("opt", "locks", "dist", "src", "system")}
    pip = image.make(places["system"], {"pip"}, sources=REPOSITORY / "src") / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{pip.parent}/python" -m pip "$@"\n')
    pip.chmod(0o755)
    copied = {"pyproject.toml": "src", "README.md": "src", "LICENSE": "src", "src": "src"}
    copied |= {"deploy/docker/locks/tools.txt": "locks"}
    for name, where in copied.items():
        (tmp_path / where).mkdir(exist_ok=True)
        (tmp_path / where / Path(name).name).symlink_to(REPOSITORY / name)

    def inside(text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt/teststrip|locks|dist)\b", rf"{tmp_path}/\1", text)

    env = {k: inside(v) for k, v in IMAGES.variables("ours").items()}
    env["PATH"] = f"{tmp_path}/opt/teststrip/bin:{places['system']}/bin:{os.environ['PATH']}"
    own = IMAGES.stages["tools"][1] + IMAGES.stages["ours"][1]
    runs = [inside(line.removeprefix("RUN ")) for line in own if line.startswith("RUN ")]
    assert len(runs) == 2
    for command in runs:
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=places["src"],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    made = tmp_path / "opt" / "teststrip"
    assert (made / "bin" / "teststrip").is_file()
    assert list(made.glob("lib/python3*/site-packages/teststrip/models"))
    assert list(made.glob("lib/python3*/site-packages/teststrip-*.dist-info/licenses/LICENSE"))


def test_the_image_of_the_tracking_server_starts_and_ends_with_what_it_has():
    settings = {
        "TESTSTRIP_TRACK_ADMIN_PASSWORD": "correct horse battery",
        "TESTSTRIP_TRACK_PUBLIC_URL": "https://track.example.org",
    }
    with ImageProcess("track", settings) as track:
        asked = track.run("python", "-c", "import mlflow, boto3, psycopg, google.cloud.storage")

        assert asked.returncode == 0, asked.stderr
        assert track.run("python", "-c", "import torch").returncode == 1
        assert track.run("touch", str(REPOSITORY / "written")).returncode == 1
        assert (track.home / "track").is_dir()
        assert track.stop() == 0, track.log()


def test_the_image_of_the_studio_starts_and_ends_with_what_it_has():
    with ImageProcess("studio", {"TESTSTRIP_STUDIO_PASSWORD": "correct horse battery"}) as studio:
        assert studio.run("teststrip", "studio", "index", "--json").returncode == 0
        assert studio.stop() == 0, studio.log()
