"""What waits for a tracking server that was away: listed and delivered, whatever it is of."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, TeststripError

if TYPE_CHECKING:
    from teststrip.track.outbox.box import Box

_ONE = {"studies": "study", "trainings": "training", "searches": "search"}


@dataclass(frozen=True)
class Waiting:
    """What one study, training or search has not told its store yet.

    `store`: its address without a password; `since`: when the first of it was kept; `fault`: why it
    could not be delivered now, or was refused before.
    """

    kind: str
    name: str
    store: str
    records: int
    files: int
    bytes: int
    since: str
    folder: str
    fault: str = ""

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:.1f} MB" if self.bytes >= 1e5 else f"{self.bytes / 1e3:.1f} kB"
        text = (
            f"{self.kind:9} {self.name:24} {self.records} records, {self.files} files, {size}, "
            f"since {self.since}, for {self.store}"
        )
        return f"{text}\n          {self.fault}" if self.fault else text


@dataclass(frozen=True)
class Delivery:
    """What was delivered, by (kind, name, number of records), and what still waits."""

    delivered: tuple[tuple[str, str, int], ...]
    waiting: tuple[Waiting, ...]

    def __str__(self) -> str:
        lines = [
            f"{kind:9} {name:24} {count} record{'' if count == 1 else 's'} delivered"
            for kind, name, count in self.delivered
        ]
        lines += [str(one) for one in self.waiting]
        return "\n".join(lines) or "nothing waits"

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "delivered": [
                {"kind": kind, "name": name, "records": count}
                for kind, name, count in self.delivered
            ],
            "waiting": [asdict(one) for one in self.waiting],
        }


def waiting(home: Path) -> Delivery:
    """All that waits in `home`, for any store. Asks no server."""
    from teststrip.track.outbox.box import stores

    found = [_described(box) for store in stores(home.resolve()) for box in store.boxes()]
    return Delivery((), tuple(found))


def deliver(home: Path, *, moved: bool = False) -> Delivery:
    """Deliver what waits for the store that MLFLOW_TRACKING_URI names.

    `moved`: that store is the one that all of it was meant for, at a new address. What could not
    be delivered is told with its fault, and does not hold up the rest. Raises ConfigError where
    MLFLOW_TRACKING_URI is not set.
    """
    from teststrip.track.connection import Connection
    from teststrip.track.outbox.box import Store, stores

    home = home.resolve()
    every = stores(home)
    if not any(store.boxes() for store in every):
        return Delivery((), ())
    connection = Connection(home)
    if connection.is_local:
        raise ConfigError(
            "MLFLOW_TRACKING_URI is not set; set it to the server that the records wait for: "
            + ", ".join(sorted({store.uri for store in every if store.boxes()}))
        )
    delivered, left = [], []
    for store in every:
        mine = Store(home, connection.shown, store.experiment)
        if moved and store.path != mine.path:
            for box in store.boxes():
                box.move(mine)
            store = mine  # noqa: PLW2901 - its boxes are there now
        for box in store.boxes():
            if store.path != mine.path:
                left.append(_described(box, "another address; see --moved"))
                continue
            try:
                if count := _deliver(home, box):
                    delivered.append((_ONE[box.kind], box.name, count))
            except TeststripError as exc:
                left.append(_described(box, str(exc)))
    return Delivery(tuple(delivered), tuple(left))


def _deliver(home: Path, box: "Box") -> int:
    """Raises StorageError, StudyError."""
    from teststrip.track.outbox.box import SEARCHES, TRAININGS

    if box.kind == SEARCHES:
        from teststrip.train.tune.record import TuneRecord

        return TuneRecord(home, box.name).deliver()
    if box.kind == TRAININGS:
        from teststrip.train.measure.telling import deliver_run

        return deliver_run(home, box)
    from teststrip.track.outbox.tracker import StudyTracker

    return StudyTracker(home, box.store.experiment).deliver(box.name)


def _described(box: "Box", fault: str = "") -> Waiting:
    entries = box.entries()
    files = [path.stat() for path in box.path.rglob("*/files/*") if path.is_file()]
    since = min(entry.since for entry in entries)
    return Waiting(
        kind=_ONE[box.kind],
        name=box.name,
        store=box.store.uri,
        records=len(entries),
        files=len(files),
        bytes=sum(stat.st_size for stat in files),
        since=datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        folder=str(box.path),
        fault=fault or next((entry.reason for entry in entries if entry.reason), ""),
    )
