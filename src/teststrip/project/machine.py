"""What made an output: the code, the packages, the processor. As far as each changes bytes."""

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import teststrip
from teststrip.config import parse
from teststrip.settings import Settings

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "numpy",
    "pillow",
    "scipy",
)
# Instructions that kernels are chosen by; the kernel's own names of them, all else is noise.
_FEATURES = frozenset(
    {"avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}
    | {"avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "sve2"}
)
# Results, which every run changes: a project is dirty by what people write.
_RESULTS = ("dvc.lock", "locks", "metrics", "plots")


def code_of(root: Path) -> dict[str, Any]:
    """Version of the package, hash of its source, and the project's own commit.

    `project_dirty`: a tracked file that people write differs from that commit; None without git.
    """
    excluded = [f":(exclude){name}" for name in _RESULTS]
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *excluded)
    return {
        "teststrip": _version(),
        "source_sha256": source_sha256(),
        "project_commit": commit or None,
        "project_dirty": None if commit is None or changed is None else bool(changed),
    }


@cache
def source_sha256() -> str:
    """One hash over names and contents of all the package's .py files; the same in a wheel."""
    here = Path(teststrip.__file__).parent
    whole = hashlib.sha256()
    for path in sorted(here.rglob("*.py"), key=lambda path: path.relative_to(here).as_posix()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{content}  {path.relative_to(here).as_posix()}\n".encode())
    return whole.hexdigest()


def environment() -> dict[str, Any]:
    """Python, system, processor, packages; threads of torch where it was loaded, else None.

    `max_rows`: of TESTSTRIP_MAX_ROWS, how many rows the engine fills its batches to.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpu_features": _features(),
        "threads": _threads(),
        "max_rows": parse(Settings, {}, "TESTSTRIP_* in the environment").max_rows,
        "packages": {name: found for name in PACKAGES if (found := _installed(name))},
    }


def device_of(said: str) -> dict[str, Any]:
    """The device that a stage says it computed on; of a GPU its name, memory and CUDA's version."""
    if not said:
        return {}
    name, _, card = said.partition(" ")
    found: dict[str, Any] = {"name": name}
    if card:
        found["card"] = card.strip(" ()")
    torch: Any = sys.modules.get("torch")
    if name.startswith("cuda") and torch is not None and torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(torch.device(name))
        found |= {
            "card": facts.name,
            "memory_gb": round(facts.total_memory / 1e9, 1),
            "capability": f"{facts.major}.{facts.minor}",
            "cuda": torch.version.cuda,
            "count": torch.cuda.device_count(),
        }
    return found


def differs(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why two environments may give other bytes: "torch 2.12.0, now 2.13.0". Empty: no reason.

    Threads and rows are no reason: they can be set. Nor is the system's version: what computes
    lies in the packages.
    """
    found = []
    for key in ("python", "machine", "cpu", "cpu_features"):
        if then.get(key) != now.get(key):
            found.append(f"{key} {_shown(then.get(key))}, now {_shown(now.get(key))}")
    before, after = then.get("packages") or {}, now.get("packages") or {}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            found.append(f"{name} {before.get(name, 'none')}, now {after.get(name, 'none')}")
    return found


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _threads() -> int | None:
    torch: Any = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else None


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _features() -> list[str]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return sorted(_FEATURES & set(found[1].split())) if found else []


@cache
def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""


def _version() -> str:
    commit = _git(Path(teststrip.__file__).parent, "rev-parse", "--short=12", "HEAD")
    # Only where the package is a checkout's own: beside a project's .venv stands its commit.
    inside = Path(teststrip.__file__).parent.parent.name == "src"
    return f"{teststrip.__version__}+{commit}" if commit and inside else teststrip.__version__


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None where it is not installed or the folder is in no repository."""
    quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(folder), *words],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=quiet,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
