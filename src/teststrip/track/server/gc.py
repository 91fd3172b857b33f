"""What was deleted long ago, and what it still takes: found, shown, removed for good.

MLflow only marks what is deleted. What a registered model is made of stays, whatever its mark.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from teststrip.errors import ConfigError
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.places import Places
from teststrip.track.server.schema import opened
from teststrip.track.server.stores import Store, store

AGE = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
OURS = "mlflow-artifacts:/"
Kind = Literal["run", "model", "experiment"]


@dataclass(frozen=True)
class Item:
    """One thing that was deleted. `kept`: why it stays; "" where it may go."""

    kind: Kind
    id: str
    name: str
    experiment: str
    since: float  # seconds since 1970, when it was deleted
    prefix: str = ""  # of its artifacts; "" where they are not this server's
    files: int = 0
    bytes: int = 0
    kept: str = ""


def age_s(text: str) -> float:
    """Seconds of "30d", "12h" or "1d12h". Raises ConfigError."""
    if not re.fullmatch(f"(?:{AGE.pattern})+", text):
        raise ConfigError(f"--older-than {text!r}: write it as 30d, 12h, 90m or 1d12h")
    return sum(float(n) * SECONDS[unit] for n, unit in AGE.findall(text))


def find(places: Places, config: ServerConfig, older_s: float) -> list[Item]:
    """What was deleted more than `older_s` seconds ago, with its size. Raises StorageError."""
    there = store(places, config)
    before_ms = int((time.time() - older_s) * 1000)
    with opened(places.backend) as connection:
        asked = _Asked(connection, before_ms)
        things = [*asked.runs(), *asked.models()]
        gone = {one.id for one in things if not one.kept}
        things += asked.experiments(gone)
    return [_sized(there, one) for one in things]


def remove(
    places: Places, config: ServerConfig, items: Iterable[Item], told: Callable[[Item], None]
) -> int:
    """Remove what may go, artifacts first, so that a gc that was cut off goes on; how many went.

    Raises StorageError.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    there = store(places, config)
    records = SqlAlchemyStore(places.backend, OURS)
    forget = {
        "run": records._hard_delete_run,  # `mlflow gc` calls the same
        "model": records._hard_delete_logged_model,
        "experiment": records._hard_delete_experiment,
    }
    users = _users(places) if config.login == "on" else None
    count = 0
    for one in items:
        if one.kept:
            continue
        if one.prefix:
            there.remove(one.prefix)
        forget[one.kind](one.id)
        if users is not None and one.kind == "experiment":
            # SQLite gives the number to the next experiment: whose rights would be the old ones'
            users.delete_grants_for_resource("experiment", one.id)
        told(one)
        count += 1
    return count


class _Asked:
    """The questions, to one connection."""

    def __init__(self, connection: Any, before_ms: int) -> None:
        self._connection, self._before = connection, before_ms
        self._pinned = " ".join(
            f"{run or ''} {source or ''}"
            for run, source in self._rows("SELECT run_id, source FROM model_versions")
        )

    def runs(self) -> list[Item]:
        found = self._rows(
            "SELECT run_uuid, name, experiment_id, deleted_time, artifact_uri FROM runs "
            "WHERE lifecycle_stage = 'deleted' AND deleted_time <= :before ORDER BY deleted_time"
        )
        return [self._item("run", *row) for row in found]

    def models(self) -> list[Item]:
        found = self._rows(
            "SELECT model_id, name, experiment_id, last_updated_timestamp_ms, artifact_location "
            "FROM logged_models WHERE lifecycle_stage = 'deleted' "
            "AND last_updated_timestamp_ms <= :before ORDER BY last_updated_timestamp_ms"
        )
        return [self._item("model", *row) for row in found]

    def experiments(self, gone: set[str]) -> list[Item]:
        """Those of which nothing is left once `gone` is gone."""
        found = self._rows(
            "SELECT experiment_id, name, experiment_id, last_update_time, artifact_location "
            "FROM experiments WHERE lifecycle_stage = 'deleted' AND last_update_time <= :before "
            "ORDER BY last_update_time"
        )
        items = []
        for row in found:
            item = self._item("experiment", str(row[0]), *row[1:])
            inside = self._rows(
                "SELECT run_uuid FROM runs WHERE experiment_id = :id UNION ALL "
                "SELECT model_id FROM logged_models WHERE experiment_id = :id",
                id=row[0],
            )
            left = sum(1 for (one,) in inside if one not in gone)
            items.append(replace(item, kept=f"{left} things in it stay") if left else item)
        return items

    def _item(  # noqa: PLR0917 - a row
        self, kind: Kind, ident: str, name: str | None, experiment: int, ms: int, uri: str | None
    ) -> Item:
        kept = ""
        if kind != "experiment" and ident in self._pinned:
            kept = "a version of a registered model is made of it"
        prefix = _prefix(kind, uri or "", ident, experiment)
        return Item(kind, ident, name or "", str(experiment), ms / 1000, prefix, kept=kept)

    def _rows(self, sql: str, **values: Any) -> list[Any]:
        from sqlalchemy import text

        values = values or ({"before": self._before} if ":before" in sql else {})
        return list(self._connection.execute(text(sql), values))


def _prefix(kind: Kind, uri: str, ident: str, experiment: int) -> str:
    """Where its artifacts lie below this server's place; "" for artifacts elsewhere."""
    if not uri.startswith(OURS):
        return ""
    path = uri.removeprefix(OURS).strip("/")
    if kind == "experiment":
        return path if path == str(experiment) else ""  # a place of the user's choice may be shared
    path = path.removesuffix("/artifacts")
    return path if path.endswith(f"/{ident}") else ""


def _sized(there: Store, item: Item) -> Item:
    if not item.prefix:
        return item
    files, size = there.size(item.prefix)
    return replace(item, files=files, bytes=size)


def _users(places: Places) -> Any:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    users = SqlAlchemyStore()
    users.init_db(places.login)
    return users
