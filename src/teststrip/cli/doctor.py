"""`teststrip doctor`: what is installed, found and writable here."""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from teststrip import __version__, wire
from teststrip.errors import TeststripError
from teststrip.files import storage_error

EXTRAS = {
    "engine": ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors"),
    "score": ("httpx",),
    "study": ("optuna", "cmaes", "scipy"),
    "report": ("pandas", "pyarrow", "jinja2"),
    "track": ("mlflow-skinny", "sqlalchemy", "alembic"),
}
LOW_DISK_GB = 2.0


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at this machine: versions, device, models, folders, record. Exit 1 if any is amiss.

    \b
    Example:
      teststrip doctor --json
    """
    settings = wire.settings()
    checks: dict[str, Callable[[], Any]] = {
        "teststrip": lambda: (
            f"{__version__} on Python {platform.python_version()}, "
            f"{platform.system()} {platform.machine()}"
        ),
        **{f"extra {name}": partial(_packages, names) for name, names in EXTRAS.items()},
        "device": lambda: _device(settings.device),
        "models": _models,
        "home": lambda: _writable(settings.home),
        "disk": lambda: _disk(settings.home),
        "record": lambda: _record(settings.home),
    }
    rows = []
    for name, check in checks.items():
        try:
            rows.append({"name": name, "ok": True, "found": check()})
        except (TeststripError, ImportError, OSError) as exc:
            rows.append({"name": name, "ok": False, "found": str(exc)})
    if as_json:
        print(json.dumps({"ok": all(row["ok"] for row in rows), "checks": rows}))
    else:
        for row in rows:
            print(f"{'ok' if row['ok'] else 'AMISS':6} {row['name']:13} {row['found']}")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


def _packages(names: tuple[str, ...]) -> str:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise ImportError(f"not installed: {', '.join(missing)}")
    return ", ".join(found)


def _device(asked: str) -> str:
    import torch

    from teststrip.engine import device as devices

    found = devices.find(asked)
    dtype = devices.pick_dtype("auto", found)
    hardware = devices.facts(found)["hardware"]
    return f"{found} ({hardware}), {dtype} by default, {torch.get_num_threads()} threads"


def _models() -> str:
    from teststrip.engine import loading

    names = sorted(path.parent.name for path in loading.MODELS.glob("*/model_index.json"))
    for name in names:
        loading.check_folder(loading.find_folder(name))
    cache = Path(os.environ.get("HF_HUB_CACHE") or _hub_home() / "hub").expanduser()
    hub = [
        path.name.removeprefix("models--").replace("--", "/")
        for path in sorted(cache.glob("models--*"))
        if any(path.glob("snapshots/*/model_index.json"))
    ]
    return f"shipped: {', '.join(names) or 'none'}; in the hub cache: {', '.join(hub) or 'none'}"


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")


def _writable(folder: Path) -> str:
    try:
        # The one check that is right for root, quotas and read-only mounts too.
        tempfile.TemporaryFile(dir=_existing(folder)).close()
    except OSError as exc:
        raise storage_error(folder.absolute(), exc) from exc
    return f"{folder.absolute()}{'' if folder.exists() else ' (made when needed)'}"


def _disk(folder: Path) -> str:
    free_gb = shutil.disk_usage(_existing(folder)).free / 1e9
    if free_gb < LOW_DISK_GB:
        raise OSError(
            f"{free_gb:.1f} GB free; below {LOW_DISK_GB:.0f} GB studies may stop half-way"
        )
    return f"{free_gb:.1f} GB free"


def _existing(folder: Path) -> Path:
    path = folder.absolute()
    while not path.exists():
        path = path.parent
    return path


def _record(home: Path) -> str:
    """Where records go; no server is asked. A password in the address is not shown."""
    from teststrip.track.connection import without_login

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return f"MLflow in {home.absolute() / 'mlflow.db'}"
    return f"MLflow at {without_login(uri)} (MLFLOW_TRACKING_URI)"
