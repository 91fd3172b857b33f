"""Adapters in the MLflow model registry: a LoRA file with its lineage, under a name and an alias.

A version is a model of MLflow's diffusers flavour (`mlflow.diffusers.load_model` opens it), with
our signature and metadata: MLflow alone would pin the base model's newest revision instead of the
one that was trained on, and knows no scale, trigger, hash or data. Its files lie in the training's
run, in `adapter/<hash>`, so that a later registration never changes an earlier one.
"""

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StorageError
from teststrip.files import storage_error
from teststrip.track import names
from teststrip.track.connection import Connection, sent_once
from teststrip.track.registry import DIGEST, PREVIOUS, Version, make_model, sha256_of

ALIAS = "challenger"
KIND = "adapter"
FOLDER = "adapter"
SCHEME = "models:/"
# What makes two registrations the same one: all that decides the pictures, and the data's name.
_IDENTITY = ("base", "dataset_hash", "trigger", "scale")
_TAGS = ("dataset_hash", "trigger", "scale", "step", "commit", "run", "kind", "selected")


@dataclass(frozen=True)
class Fetched:
    """An adapter from the registry, here. `path`: named by its content; `scale`: as registered.

    `meta`: what was registered with it (base, dataset_hash, trigger, ...).
    """

    name: str
    number: str
    path: Path
    sha256: str
    scale: float
    meta: Mapping[str, Any] = field(repr=False)


def register_adapter(  # noqa: PLR0917 - what a version is made of
    connection: Connection,
    name: str,
    run_id: str,
    weights: Path,
    meta: Mapping[str, Any],
    alias: str = ALIAS,
) -> Version:
    """A version of model `name` from a LoRA file, with `alias`. The same content again is the same.

    `meta`: the checkpoint's (base with model, revision and fingerprint, dataset_hash, trigger,
    scale, commit, step) and whatever else is to be known. Raises ConfigError where it names no
    base model, StorageError for a file that is not there or an MLflow that refuses.
    """
    base = meta.get("base") or {}
    if not base.get("model") or not base.get("fingerprint"):
        raise ConfigError(
            f"register {name!r}: what is known of {weights} names no base model with its "
            "fingerprint, which an adapter is nothing without"
        )
    sha256 = sha256_of(weights)
    if meta.get("sha256") not in (None, sha256):
        raise StorageError(f"{weights}: was changed after it was made; its SHA-256 is {sha256}")
    known = {key: value for key, value in meta.items() if key != "config"} | {"sha256": sha256}
    known.setdefault("scale", 1.0)
    identity = {key: known.get(key) for key in _IDENTITY} | {"sha256": sha256}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    with connection.border(f"register adapter {name!r}"):
        client = connection.client
        make_model(connection, name, KIND, "Adapters trained with Teststrip.")
        before = str(client.get_registered_model(name).aliases.get(alias, ""))
        found = _find(connection, name, digest)
        is_new = found is None
        if found is None:
            folder = f"{FOLDER}/{digest}"
            with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
                _save(Path(place) / "model", weights, known, meta.get("config") or {})
                client.log_artifacts(run_id, str(Path(place) / "model"), folder)
            root = client.get_run(run_id).info.artifact_uri.rstrip("/")
            tags = _tags(known, base) | {DIGEST: digest} | ({PREVIOUS: before} if before else {})
            with sent_once():
                found = client.create_model_version(
                    name,
                    source=f"{root}/{folder}",
                    run_id=run_id,
                    tags=tags,
                    description=f"LoRA of {base['model']}, step {known.get('step')}, scale "
                    f"{known['scale']}",
                )
        number = str(found.version)
        if before != number:
            client.set_registered_model_alias(name, alias, number)
        found = client.get_model_version(name, number)
    return Version(
        name=name,
        number=number,
        run_id=str(found.run_id),
        source=str(found.source),
        tags=dict(found.tags),
        previous=str(found.tags.get(PREVIOUS, "")),
        is_new=is_new,
    )


def fetch_adapter(connection: Connection, uri: str, folder: Path) -> Fetched:
    """The LoRA file of `models:/name@alias` or `models:/name/3`, as `folder`/<sha256>.safetensors.

    A version that is a champion's recipe gives its LoRA, where it has exactly one. A file that is
    here is not downloaded again. Raises ConfigError for what is no such address, StorageError
    where there is no such version or its file is not the one that was registered.
    """
    name, alias, number = _parsed(uri)
    with connection.border(f"fetch {uri}"):
        client = connection.client
        found = (
            client.get_model_version_by_alias(name, alias)
            if alias
            else client.get_model_version(name, number)
        )
        source = client.get_model_version_download_uri(name, found.version)
    with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
        here = _download(connection, uri, source, Path(place))
        file, meta = _content(uri, here)
        sha256 = sha256_of(file)
        if sha256 != meta["sha256"]:
            raise StorageError(
                f"{uri}: its file is not the one that was registered (SHA-256 {sha256[:12]}..., "
                f"registered {str(meta['sha256'])[:12]}...)"
            )
        path = folder / f"{sha256}.safetensors"
        _keep(file, path, sha256)
    return Fetched(name, str(found.version), path, sha256, float(meta.get("scale", 1.0)), meta)


def _parsed(uri: str) -> tuple[str, str, str]:
    """(name, alias, number); one of the last two is empty."""
    rest = uri.removeprefix(SCHEME)
    name, at, alias = rest.partition("@")
    if uri.startswith(SCHEME) and at and name and alias and "/" not in rest:
        return name, alias, ""
    name, _, number = rest.rpartition("/")
    if uri.startswith(SCHEME) and name and number.isdigit() and "/" not in name:
        return name, "", number
    raise ConfigError(
        f"{uri!r}: no address of a registered adapter; write models:/NAME@ALIAS (for example "
        "models:/ink@challenger) or models:/NAME/VERSION"
    )


def _save(place: Path, weights: Path, meta: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """An MLflow model of the diffusers flavour in `place`."""
    flavour = _flavour()
    from mlflow.models import Model

    flavour.save_model(
        str(weights),
        str(place),
        # A path, so that MLflow does not ask the hub for the newest revision; set right below.
        base_model="./base",
        signature=_signature(config),
        metadata=_metadata(meta),
    )
    model = Model.load(str(place))
    flavor = model.flavors["diffusers"]
    flavor["base_model"] = meta["base"]["model"]
    if revision := meta["base"].get("revision"):
        flavor["base_model_revision"] = revision
    model.save(str(place / "MLmodel"))


def _flavour() -> Any:
    """mlflow.diffusers, which warns of its own type hints when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.diffusers
        import mlflow.pyfunc.model  # loaded late, in the middle of saving, where it would warn
    return mlflow.diffusers


def _metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`teststrip`: all that is known, and the few things that other programs look for by name."""
    base = meta["base"]
    return {
        "base_model": base["model"],
        "base_revision": base.get("revision"),
        "base_fingerprint": base["fingerprint"],
        "weights_sha256": meta["sha256"],
        "dataset_hash": meta.get("dataset_hash"),
        "trigger": meta.get("trigger") or "",
        "scale": meta["scale"],
        "commit": meta.get("commit"),
        "teststrip": json.loads(json.dumps(meta, default=str)),
    }


def _signature(config: Mapping[str, Any]) -> Any:
    """Prompt in, picture out; the defaults are those of the run's validation images.

    MLflow's own signature says 512 px and guidance 7.5 for every model.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    recipe = (config.get("validation") or {}).get("recipe") or {}
    size = (config.get("data") or {}).get("size") or (None, None)
    defaults = {
        "num_inference_steps": (DataType.integer, recipe.get("steps") or 25),
        "guidance_scale": (DataType.double, float(recipe.get("guidance") or 7.5)),
        "negative_prompt": (DataType.string, recipe.get("negative_prompt") or ""),
        "width": (DataType.integer, recipe.get("width") or size[0]),
        "height": (DataType.integer, recipe.get("height") or size[1]),
    }
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "prompt")]),
        outputs=Schema([ColSpec(DataType.binary, "image")]),
        params=ParamSchema(
            [
                ParamSpec(name, dtype, default)
                for name, (dtype, default) in defaults.items()
                if default is not None  # without a size the pipeline takes the model's own
            ]
        ),
    )


def _tags(meta: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, str]:
    known = {key: meta[key] for key in _TAGS if meta.get(key) not in (None, "")} | {
        "base_model": base["model"],
        "base_revision": base.get("revision") or "",
        "fingerprint": base["fingerprint"],
        "weights_sha256": meta["sha256"],
        names.KIND: KIND,
    }
    return {key: names.fitted(str(value), names.MAX_TAG) for key, value in known.items() if value}


def _find(connection: Connection, name: str, digest: str) -> Any | None:
    """The version with this content, if it was registered before."""
    found = connection.client.search_model_versions(
        f"name = '{name}' and tags.{DIGEST} = '{digest}'"
    )
    ready = [version for version in found if version.status == "READY"]
    return min(ready, key=lambda version: int(version.version), default=None)


def _download(connection: Connection, uri: str, source: str, place: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    with connection.border(f"fetch {uri}"):
        return Path(
            download_artifacts(
                artifact_uri=source, dst_path=str(place), tracking_uri=connection.uri
            )
        )


def _content(uri: str, here: Path) -> tuple[Path, dict[str, Any]]:
    """The LoRA file of a downloaded version, and what is known of it with sha256 and scale."""
    try:
        if (here / "MLmodel").is_file():
            _flavour()
            from mlflow.models import Model

            model = Model.load(str(here))
            meta = dict(model.metadata["teststrip"])
            files = list((here / model.flavors["diffusers"]["adapter_weights"]).iterdir())
        else:
            facts = json.loads((here / "model.json").read_text(encoding="utf-8"))
            copied = [lora for lora in facts["loras"] if lora.get("copy")]
            files = [here / lora["copy"] for lora in copied]
            meta = copied[0] | {"base": {key: facts.get(key) for key in ("model", "revision")}}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as exc:
        raise StorageError(f"{uri}: is no adapter of ours: {exc!r}") from exc
    if len(files) != 1:
        raise StorageError(f"{uri}: holds {len(files)} adapter files instead of one")
    return files[0], meta


def _keep(file: Path, path: Path, sha256: str) -> None:
    """Move `file` to `path`, unless its content is there."""
    if path.is_file() and sha256_of(path) == sha256:
        return
    part = path.with_name(f".{path.name}-part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part)
        part.replace(path)
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise storage_error(path, exc) from exc
