"""A box: what one study, training or search has not told the store yet.

outbox/<store>/store.json                  which store it is for, without any password
outbox/<store>/<kind>/<name>/<slot>/       one record that waits
    entry.json                             what is to be said; there is no record without it
    files/                                 pictures and other files, byte for byte
outbox/<store>/<kind>/<name>/doubt         a request had no answer: it may have been done
outbox/<store>/<kind>/<name>/lock          held by who delivers; `change` while records change

A slot holds one record: what comes later for the same recipe joins it, so a long outage takes no
more room than the pictures themselves.
"""

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from teststrip.errors import StorageError
from teststrip.files import storage_error, write_atomic
from teststrip.lock import FolderLock, waiting

STUDIES, TRAININGS, SEARCHES = "studies", "trainings", "searches"
ENTRY, FILES, STORE = "entry.json", "files", "store.json"
Data = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One record that waits. `token`: changes whenever the record does; `reason`: why the store
    refused this one, empty where it was not asked."""

    slot: str
    data: Data = field(repr=False)
    token: str
    folder: Path
    rank: int
    since: float
    reason: str = ""

    def files(self) -> dict[str, bytes]:
        """Its files by name. Raises StorageError where the disk refuses."""
        place = self.folder / FILES
        try:
            return {path.name: path.read_bytes() for path in sorted(place.glob("[!.]*"))}
        except OSError as exc:
            raise StorageError(f"{place}: cannot be read: {exc.strerror or exc}") from exc


class Box:
    """The records of one study, training or search for one store. Any process may use it."""

    def __init__(self, store: "Store", kind: str, name: str) -> None:
        self.kind, self.name, self.store = kind, name, store
        self.path = store.path / kind / quote(name, safe="")
        self.delivering = FolderLock(self.path, f"delivery of {kind} {name!r}").held

    def put(
        self,
        slot: str,
        data: Data,
        files: Mapping[str, bytes] | None = None,
        *,
        rank: int = 1,
        merge: Callable[[Data, Data], Data] | None = None,
    ) -> None:
        """Keep a record until the store has it; with `merge(old, new)` it joins the one there is.

        Records are delivered by `rank`, then as they came. Raises StorageError (disk).
        """
        self.store.sign()
        folder = self.path / quote(slot, safe="")
        with self._changing():
            old = self._entry(folder)
            since, reason = (old.since, old.reason) if old else (time.time(), "")
            if old is not None and merge is not None:
                data = merge(old.data, data)
            for name, content in (files or {}).items():
                if not _is(folder / FILES / name, content):
                    write_atomic(folder / FILES / name, content)
            self._write(folder, data, rank, since, reason)

    def entries(self) -> list[Entry]:
        """What waits, in the order of delivery."""
        folders = sorted(self.path.glob("[!.]*/")) if self.path.is_dir() else []
        found = [entry for folder in folders if (entry := self._entry(folder)) is not None]
        return sorted(found, key=lambda entry: (entry.rank, entry.since, entry.slot))

    def entry(self, slot: str) -> Entry | None:
        """The record of a slot, None where none waits."""
        return self._entry(self.path / quote(slot, safe=""))

    def waits(self) -> bool:
        """Is there anything to deliver?"""
        return any(self.path.glob(f"[!.]*/{ENTRY}"))

    def drop(self, entry: Entry) -> bool:
        """The store has it. False where the record changed meanwhile: that one still waits."""
        with self._changing():
            now = self._entry(entry.folder)
            if now is not None and now.token != entry.token:
                return False
            with suppress(FileNotFoundError):
                (entry.folder / ENTRY).unlink()  # without it the rest means nothing
            shutil.rmtree(entry.folder, ignore_errors=True)
            return True

    def note(self, entry: Entry, reason: str) -> None:
        """The store refused this record, and why; it goes on waiting."""
        with self._changing():
            now = self._entry(entry.folder)
            if now is not None and now.token == entry.token:
                self._write(entry.folder, now.data, now.rank, now.since, reason, now.token)

    def move(self, store: "Store") -> None:
        """Keep it for `store`, which has a new address. Raises StorageError where records for the
        same name wait there, too."""
        there = store.box(self.kind, self.name)
        if there.waits():
            raise StorageError(f"{there.path}: records wait there; deliver those first")
        store.sign()
        try:
            shutil.rmtree(there.path, ignore_errors=True)
            there.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.rename(there.path)
        except OSError as exc:
            raise storage_error(there.path, exc) from exc

    @property
    def is_in_doubt(self) -> bool:
        """Did a request have no answer, so that the store may have done it?"""
        return (self.path / "doubt").exists()

    def doubt(self, *, is_so: bool) -> None:
        """Remember that, or that it was looked into."""
        if is_so and not self.is_in_doubt:
            self.store.sign()
            write_atomic(self.path / "doubt", b"")
        elif not is_so:
            (self.path / "doubt").unlink(missing_ok=True)

    def _entry(self, folder: Path) -> Entry | None:
        try:
            read = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
            return Entry(
                slot=unquote(folder.name),
                data=read["data"],
                token=str(read["token"]),
                folder=folder,
                rank=int(read["rank"]),
                since=float(read["since"]),
                reason=str(read.get("reason") or ""),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise StorageError(
                f"{folder / ENTRY}: cannot be read ({exc}); it waits for {self.store.uri}; move "
                "the folder away to go on without it"
            ) from exc

    def _write(  # noqa: PLR0917 - an entry
        self, folder: Path, data: Data, rank: int, since: float, reason: str, token: str = ""
    ) -> None:
        record = {"data": data, "rank": rank, "since": since, "reason": reason}
        record["token"] = token or secrets.token_hex(8)
        write_atomic(folder / ENTRY, json.dumps(record, ensure_ascii=False, default=str).encode())

    def _changing(self) -> AbstractContextManager[None]:
        """Alone for the moment that a change takes; whoever delivers does not hold it meanwhile."""
        return waiting(self.path / "change")


class Store:
    """The boxes for one store. `uri` as it is shown, without any password."""

    def __init__(self, home: Path, uri: str, experiment: str) -> None:
        self.uri, self.experiment = uri, experiment
        name = hashlib.sha256(f"{uri.rstrip('/')} {experiment}".encode()).hexdigest()[:16]
        self.path = home / "outbox" / name

    def box(self, kind: str, name: str) -> Box:
        """The box of a study, training or search; it takes no room until something waits."""
        return Box(self, kind, name)

    def boxes(self) -> list[Box]:
        """Those in which something waits."""
        found = (
            Box(self, kind, unquote(path.name))
            for kind in (SEARCHES, TRAININGS, STUDIES)
            for path in sorted((self.path / kind).glob("[!.]*/"))
        )
        return [box for box in found if box.waits()]

    def sign(self) -> None:
        """Write down whose boxes these are."""
        path = self.path / STORE
        if not path.exists():
            text = json.dumps({"uri": self.uri, "experiment": self.experiment})
            write_atomic(path, text.encode())


def stores(home: Path) -> list[Store]:
    """Every store that something was kept for, whatever MLFLOW_TRACKING_URI says now."""
    found = []
    for path in sorted((home / "outbox").glob(f"[!.]*/{STORE}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            read = json.loads(path.read_text(encoding="utf-8"))
            store = Store(home, str(read["uri"]), str(read["experiment"]))
            store.path = path.parent
            found.append(store)
    return found


def _is(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
