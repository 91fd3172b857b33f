"""Who is champion: asked of the MLflow registry in a thread, known at once to whoever asks here.

A version's files lie in `<home>/service/champions/<name>/<version>-<run>`, so that the last known
one is served while MLflow is away, and jobs of an older version still find their adapters.
"""

import dataclasses
import json
import logging
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StorageError, TeststripError
from teststrip.files import write_atomic
from teststrip.recipe import Recipe
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.job import Champion

if TYPE_CHECKING:
    from teststrip.track.registry import Champion as Registered
    from teststrip.track.registry import Registry

log = logging.getLogger(__name__)
FIRST_LOOK_S = 20.0  # a start waits so long for MLflow; then the last known champion serves
NUMBER = re.compile(r"[0-9]{1,9}")


@dataclasses.dataclass(frozen=True)
class Crowned:
    """A registered version. `recipe`: as registered, the same on every machine.

    `model`: what is known of its model (fingerprint, dtype, loras). `headline`: the evidence.
    """

    champion: Champion
    recipe: Recipe
    model: Mapping[str, Any]
    headline: str
    registered: "Registered"


class ChampionWatch:
    """`current` for the next job, `version` for a certain one, `recipe_here` for the engine.

    Asks the alias every `champion_poll_s` in a thread of its own until `close`; a pinned version
    is read once. `fault`: why the last look failed, "" when it did not. Any thread may ask.
    """

    def __init__(self, config: ServiceConfig, home: Path) -> None:
        self.name = config.champion
        self.fault = ""
        self._pinned = config.champion_version
        self._poll_s = config.champion_poll_s
        self._home = home
        self._place = home / "service" / "champions" / _folder_name(config.champion)
        self._known: dict[str, Crowned] = {}
        self._current: Crowned | None = None
        self._registry: Registry | None = None
        self._asking = threading.Lock()
        self._stop, self._looked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)
        self._thread.start()
        self._looked.wait(FIRST_LOOK_S)

    def current(self) -> Crowned | None:
        """The pinned version, or the champion as last seen; None where nobody is. Never waits."""
        return self._current

    def version(self, number: str) -> Crowned:
        """A certain version; may ask MLflow, so not from an event loop.

        Raises ConfigError where there is none of that number, StorageError where MLflow is away.
        """
        if not NUMBER.fullmatch(number):
            raise ConfigError(f"champion version {number!r}: a whole number is accepted")
        known = self._known.get(number)
        return known if known is not None else self._load(number, None)

    def here(self, champion: Champion) -> Recipe:
        """The champion's recipe with adapter files that this machine has; may ask MLflow.

        Raises StorageError where they cannot be had.
        """
        return self._crowned(champion).registered.recipe_here

    def recipe_here(self, recipe: Recipe, champion: Champion) -> Recipe:
        """`recipe`, made from the champion's, with its adapters' paths on this machine.

        Raises StorageError as `here`.
        """
        crowned = self._crowned(champion)
        local = crowned.registered.recipe_here
        paths = {
            ours.path: its.path for ours, its in zip(crowned.recipe.loras, local.loras, strict=True)
        }
        loras = [
            lora.model_dump() | {"path": paths.get(lora.path, lora.path)} for lora in recipe.loras
        ]
        return recipe.changed(loras=loras)

    def close(self) -> None:
        """End the thread; one that waits for MLflow is left behind."""
        self._stop.set()
        self._thread.join(1.0)

    # -- inside -----------------------------------------------------------------------------------

    def _crowned(self, champion: Champion) -> Crowned:
        if champion.name != self.name:
            raise StorageError(
                f"champion {champion.name}@{champion.version}: this worker serves {self.name!r} "
                "(TESTSTRIP_SERVICE_CHAMPION)"
            )
        known = self._known.get(champion.version)
        if known is not None and champion.run_id in ("", known.champion.run_id):
            return known
        try:
            return self._load(champion.version, champion.run_id or None)
        except ConfigError as exc:
            raise StorageError(str(exc)) from exc

    def _watch(self) -> None:
        while True:
            try:
                self._look()
                self.fault = ""
            except TeststripError as exc:
                if not self.fault:
                    log.warning("champion %s: %s", self.name, exc)
                self.fault = str(exc)
                self._registry = None  # a connection that never opened is of no use
                if self._current is None:
                    self._current = self._last_known()
            except Exception:  # what MLflow may raise has no end; the next look may work
                log.exception("champion %s: cannot be read", self.name)
                self.fault = "cannot be read"
            self._looked.set()
            if self._stop.wait(self._poll_s):
                return

    def _look(self) -> None:
        if self._pinned:
            if self._current is None:
                self._current = self._load(self._pinned, None)
            return
        with self._asking:
            found = self._open().crowned(self.name)
        now = self._current.champion if self._current else None
        if found is None:
            if now is not None:
                log.warning("champion %s: the alias is gone; version %s stays", *_words(now))
            return
        if now is not None and (now.version, now.run_id) == (found.number, found.run_id):
            return
        crowned = self._load(found.number, found.run_id)
        if self._stop.is_set():
            return
        self._current = crowned
        write_atomic(self._place / "current.json", _told(crowned))
        log.info("champion %s: version %s is served", *_words(crowned.champion))

    def _load(self, number: str, run_id: str | None) -> Crowned:
        """A version from this machine's folder, else from MLflow.

        Only with its run's id is a number one version for ever: a new store begins at 1 again.
        """
        with self._asking:
            if run_id is not None and (found := self._from_folder(number, run_id)) is not None:
                return self._keep(found)
            with tempfile.TemporaryDirectory(prefix="teststrip-") as folder:
                try:
                    made = self._open().version(self.name, number, Path(folder))
                except StorageError as exc:
                    if (kept := self._newest_in_folder(number)) is not None:
                        return self._keep(kept)
                    if "RESOURCE_DOES_NOT_EXIST" in str(exc) or "not found" in str(exc):
                        raise ConfigError(f"champion {self.name}@{number}: {exc}") from exc
                    raise
                return self._keep(self._moved_in(made))

    def _open(self) -> "Registry":
        if self._registry is None:
            from teststrip.track.connection import Connection
            from teststrip.track.registry import Registry

            self._registry = Registry(Connection(self._home))
        return self._registry

    def _keep(self, registered: "Registered") -> Crowned:
        version = registered.version
        crowned = Crowned(
            Champion(name=self.name, version=version.number, run_id=version.run_id),
            registered.recipe,
            registered.model,
            str(registered.evidence.get("headline", "")),
            registered,
        )
        self._known[version.number] = crowned
        return crowned

    def _moved_in(self, made: "Registered") -> "Registered":
        """Its files from where they were downloaded to where they stay: whole or not at all."""
        place = self._place / _kept_as(made.version.number, made.version.run_id)
        if not place.exists():
            coming = place.with_name(f".{place.name}.{threading.get_ident()}")
            shutil.copytree(made.folder, coming, dirs_exist_ok=True)
            (coming / "version.json").write_text(json.dumps(dataclasses.asdict(made.version)))
            try:
                coming.rename(place)
            except OSError:  # another process of this machine was quicker
                shutil.rmtree(coming, ignore_errors=True)
        return dataclasses.replace(made, folder=place)

    def _from_folder(self, number: str, run_id: str) -> "Registered | None":
        return _read(self._place / _kept_as(number, run_id))

    def _newest_in_folder(self, number: str) -> "Registered | None":
        found = sorted(self._place.glob(f"{number}-*"), key=lambda path: path.stat().st_mtime)
        return _read(found[-1]) if found else None

    def _last_known(self) -> Crowned | None:
        try:
            told = json.loads((self._place / "current.json").read_bytes())
            champion = Champion.model_validate(told)
        except (OSError, ValueError):
            return None
        if self._pinned and champion.version != self._pinned:
            return None
        found = self._from_folder(champion.version, champion.run_id)
        return self._keep(found) if found is not None else None


def _read(folder: Path) -> "Registered | None":
    from teststrip.track.registry import Version, read_champion

    try:
        version = Version(**json.loads((folder / "version.json").read_bytes()))
        return read_champion(version, folder)
    except (OSError, ValueError, TypeError, TeststripError):
        return None  # not there, or of another make: it is downloaded again


def _told(crowned: Crowned) -> bytes:
    return crowned.champion.model_dump_json().encode()


def _words(champion: Champion) -> tuple[str, str]:
    return champion.name, champion.version


def _kept_as(number: str, run_id: str) -> str:
    return f"{number}-{_folder_name(run_id)}"


def _folder_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).strip(".") or "_"
