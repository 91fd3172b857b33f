"""What the pipeline runs with: DVC, our own command, disk space, CI."""

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from teststrip.project.doctor.finding import Finding, failed, passed, warned
from teststrip.project.doctor.visit import Visit
from teststrip.project.layout import WORK

LEAST_DVC = (3, 50)
FAIL_GB, WARN_GB = 0.5, 5.0
_INSTALL = "pip install 'teststrip[all,pipeline]'"
CI_FILES = (".gitlab-ci.yml", ".github/workflows")


def dvc(visit: Visit) -> Finding:
    """Is DVC installed, new enough, and was the project set up for it?"""
    if not visit.dvc_version:
        return failed(
            "DVC is not installed beside teststrip: no dvc repro, push or pull",
            f"{_INSTALL} (without it: teststrip project run)",
        )
    numbers = tuple(int(n) if n.isdigit() else 0 for n in visit.dvc_version.split(".")[:2])
    if numbers < LEAST_DVC:
        return failed(f"DVC {visit.dvc_version}, older than 3.50", _INSTALL)
    if not (visit.root / ".dvc").is_dir():
        return failed(f"DVC {visit.dvc_version}, but no folder .dvc", "dvc init")
    try:
        return passed(f"DVC {visit.dvc_version}, dvc-s3 {version('dvc-s3')}")
    except PackageNotFoundError:
        return warned(f"DVC {visit.dvc_version} without dvc-s3: no S3 remote", _INSTALL)


def commands(visit: Visit) -> Finding:
    """Does the shell of `dvc repro` find `teststrip`, and is it this one?"""
    ours = Path(sys.executable).parent
    missing = [name for name in ("teststrip", "dvc") if not shutil.which(name)]
    if missing:
        return failed(
            f"not on the PATH: {', '.join(missing)}; dvc repro could start no stage",
            f"activate the environment, or: export PATH={ours}:$PATH",
        )
    found = Path(shutil.which("teststrip") or "")
    if found.parent.resolve() != ours.resolve():
        return warned(
            f"dvc repro would start {found}, which is not the teststrip that you asked",
            f"export PATH={ours}:$PATH",
        )
    return passed(f"teststrip {version('teststrip')}, on the PATH")


def disk(visit: Visit) -> Finding:
    """Is there room for checkpoints, pictures and DVC's second copy of both?"""
    home = Path(os.environ.get("TESTSTRIP_HOME", visit.root / WORK))
    while not home.exists() and home != home.parent:
        home = home.parent
    free = {str(place): shutil.disk_usage(place).free / 1e9 for place in (visit.root, home)}
    least = min(free.values())
    if least < FAIL_GB:
        return failed(f"{least:.2f} GB free", "free some space: dvc gc -w, or remove work/")
    if least < WARN_GB:
        return warned(f"{least:.1f} GB free", "a model of 4 GB and its checkpoints need more")
    return passed(f"{least:.0f} GB free")


def ci(visit: Visit) -> Finding:
    """Is there a file that runs the pipeline on every change?"""
    for name in CI_FILES:
        path = visit.root / name
        files = [path] if path.is_file() else sorted(path.glob("*.y*ml"))
        for file in files:
            if "teststrip" in file.read_text(encoding="utf-8", errors="replace"):
                return passed(str(file.relative_to(visit.root)))
    mend = "copy one from a new project: teststrip project init DIR --ci gitlab|github"
    return warned(f"no CI file runs teststrip ({' or '.join(CI_FILES)})", mend)
