"""Champions in the MLflow model registry: a recipe with its evidence, under a name and an alias.

A version's files lie in the study's run, in `champion/<recipe id>/<hash of the files>`, so that a
later promotion never changes what an earlier one registered. The names are in ADR 7.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.config import parse
from teststrip.errors import StorageError
from teststrip.recipe import Recipe
from teststrip.track import names
from teststrip.track.connection import Connection, sent_once

ALIAS = "champion"
FOLDER = "champion"
DIGEST, PREVIOUS = "digest", "previous"
MOST_LORA_BYTES = 500 * 2**20


@dataclass(frozen=True)
class Version:
    """A registered version. `previous`: who was champion before it, empty if nobody was."""

    name: str
    number: str
    run_id: str
    source: str
    tags: Mapping[str, str]
    previous: str
    is_new: bool


@dataclass(frozen=True)
class Champion:
    """What is served: the recipe as registered, what is known of its model, and the evidence.

    `model`: content of model.json (model, revision, fingerprint, dtype, loras). `folder`: where
    its files lie now.
    """

    version: Version
    recipe: Recipe
    model: Mapping[str, Any] = field(repr=False)
    evidence: Mapping[str, Any] = field(repr=False)
    folder: Path = field(repr=False)

    @property
    def recipe_here(self) -> Recipe:
        """The recipe with LoRA files that this machine has: the registered copies where needed.

        The pictures are the same; the recipe's id is another where a path had to change. Raises
        StorageError for a LoRA that was neither copied nor is here as it was.
        """
        paths = {lora["path"]: self._lora_here(lora) for lora in self.model["loras"]}
        loras = [lora.model_dump() | {"path": paths[lora.path]} for lora in self.recipe.loras]
        return self.recipe.changed(loras=loras)

    def _lora_here(self, lora: Mapping[str, Any]) -> str:
        path, digest, copy = str(lora["path"]), lora.get("sha256"), lora.get("copy")
        if digest is None or (Path(path).is_file() and sha256_of(Path(path)) == digest):
            return path
        if copy:
            return str(self.folder / copy)
        raise StorageError(
            f"{self.version.name} version {self.version.number}: LoRA {path} (sha256 "
            f"{digest[:12]}...) was too large to be copied and is not here; bring it back"
        )


class Registry:
    """Registers champions and finds them again. All calls raise StorageError if MLflow refuses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def register(  # noqa: PLR0917 - what a version is made of
        self,
        name: str,
        run_id: str,
        recipe_id: str,
        files: Mapping[str, bytes],
        loras: Mapping[str, Path],
        tags: Mapping[str, str],
        description: str = "",
    ) -> Version:
        """A version of model `name` from these files, with alias `champion`.

        The same files from the same run are the same version, whose alias is set again. `loras`:
        place among the files -> local file. The champion before it is named in tag `previous`.
        """
        digest = _digest(files, loras)
        with self._connection.border(f"register model {name!r}"):
            client = self._connection.client
            make_model(self._connection, name, "champion", "Recipes promoted by Teststrip.")
            before = self._champion_number(name)
            folder = f"{FOLDER}/{recipe_id}/{digest}"
            found = self._find(name, run_id, digest)
            is_new = found is None
            if found is None:
                self._upload(run_id, folder, files, loras)
                root = client.get_run(run_id).info.artifact_uri.rstrip("/")
                known = {k: names.fitted(str(v), names.MAX_TAG) for k, v in tags.items()}
                if before:
                    known[PREVIOUS] = before
                with sent_once():
                    found = client.create_model_version(
                        name,
                        source=f"{root}/{folder}",
                        run_id=run_id,
                        tags=known | {DIGEST: digest},
                        description=description,
                    )
            number = str(found.version)
            if before and before != number and not is_new:
                client.set_model_version_tag(name, number, PREVIOUS, before)
            if before != number:
                client.set_registered_model_alias(name, ALIAS, number)
            return self._version(client.get_model_version(name, number), is_new=is_new)

    def champion(self, name: str, folder: Path) -> Champion:
        """The champion of model `name`, its files downloaded into `folder`.

        Raises StorageError where there is none or its files are not those of a champion.
        """
        with self._connection.border(f"read the champion of model {name!r}"):
            found = self._connection.client.get_model_version_by_alias(name, ALIAS)
        return self._downloaded(found, folder)

    def version(self, name: str, number: str, folder: Path) -> Champion:
        """Any version of model `name`, champion or not, its files downloaded into `folder`.

        Raises StorageError as `champion` does.
        """
        with self._connection.border(f"read version {number} of model {name!r}"):
            found = self._connection.client.get_model_version(name, number)
        return self._downloaded(found, folder)

    def crowned(self, name: str) -> Version | None:
        """Who is champion of model `name` now, nothing downloaded; None where nobody is.

        Raises StorageError where MLflow cannot be asked.
        """
        from mlflow.exceptions import MlflowException

        with self._connection.border(f"read the champion of model {name!r}"):
            try:
                found = self._connection.client.get_model_version_by_alias(name, ALIAS)
            except MlflowException as exc:
                if exc.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None  # MLflow has the second for an alias that is not set
                raise
        return self._version(found, is_new=False)

    def _downloaded(self, found: Any, folder: Path) -> Champion:
        from mlflow.artifacts import download_artifacts

        version = self._version(found, is_new=False)
        what = f"model {version.name} version {version.number}"
        with self._connection.border(f"read {what}"):
            source = self._connection.client.get_model_version_download_uri(
                version.name, version.number
            )
            folder.mkdir(parents=True, exist_ok=True)
            place = Path(
                download_artifacts(
                    artifact_uri=source, dst_path=str(folder), tracking_uri=self._connection.uri
                )
            )
        return read_champion(version, place)

    def _champion_number(self, name: str) -> str:
        aliases: Mapping[str, Any] = self._connection.client.get_registered_model(name).aliases
        return str(aliases.get(ALIAS, ""))

    def _find(self, name: str, run_id: str, digest: str) -> Any | None:
        """The version with these files, if it was registered before."""
        found = self._connection.client.search_model_versions(
            f"name = '{name}' and run_id = '{run_id}' and tags.{DIGEST} = '{digest}'"
        )
        ready = [v for v in found if v.status == "READY"]
        return min(ready, key=lambda v: int(v.version), default=None)

    def _upload(
        self, run_id: str, folder: str, files: Mapping[str, bytes], loras: Mapping[str, Path]
    ) -> None:
        client = self._connection.client
        with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
            for name, data in files.items():
                (Path(place) / name).write_bytes(data)
            client.log_artifacts(run_id, place, folder)
        for where, file in loras.items():
            client.log_artifact(run_id, str(file), f"{folder}/{Path(where).parent.as_posix()}")

    def _version(self, found: Any, *, is_new: bool) -> Version:
        return Version(
            name=str(found.name),
            number=str(found.version),
            run_id=str(found.run_id),
            source=str(found.source),
            tags=dict(found.tags),
            previous=str(found.tags.get(PREVIOUS, "")),
            is_new=is_new,
        )


def make_model(connection: Connection, name: str, kind: str, description: str) -> None:
    """The registered model `name`, unless it is there.

    It is not looked up first: a server with log-in says "permission denied" of a name that is free.
    """
    from mlflow.exceptions import MlflowException

    try:
        connection.client.create_registered_model(
            name, tags={names.KIND: kind}, description=description
        )
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def read_champion(version: Version, folder: Path) -> Champion:
    """The champion whose files lie in `folder`. Raises StorageError where they are none."""
    what = f"model {version.name} version {version.number}"
    try:
        recipe, model, evidence = (
            json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
            for file in ("recipe", "model", "evidence")
        )
    except (OSError, ValueError) as exc:
        raise StorageError(f"{what}: is no champion of ours: {exc}") from exc
    return Champion(version, parse(Recipe, recipe, f"{what}: recipe"), model, evidence, folder)


def lora_files(recipe: Recipe) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """What is known of a recipe's LoRAs, and the local files to copy by their place.

    Copied are safetensors files while they are 500 MB or less together; others stay where they
    are and are known by path and SHA-256. A folder or hub id is known by its path alone.
    Raises StorageError for a file that cannot be read.
    """
    listed, copies, left = [], {}, MOST_LORA_BYTES
    for place, lora in enumerate(recipe.loras):
        entry: dict[str, Any] = {"path": lora.path, "scale": lora.scale}
        file = Path(lora.path)
        if file.is_file():
            size = file.stat().st_size
            entry |= {"sha256": sha256_of(file), "bytes": size}
            if size <= left and file.suffix == ".safetensors":
                left -= size
                entry["copy"] = f"loras/{place}/{file.name}"
                copies[entry["copy"]] = file
        listed.append(entry)
    return listed, copies


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes. Raises StorageError if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise StorageError(f"{file}: cannot be read: {exc.strerror or exc}") from exc


def _digest(files: Mapping[str, bytes], loras: Mapping[str, Path]) -> str:
    total = hashlib.sha256()
    parts = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    parts |= {name: sha256_of(file) for name, file in loras.items()}
    for name, digest in sorted(parts.items()):
        total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()[:12]
