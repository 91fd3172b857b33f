"""Runs that exist twice because a server made one whose answer never came.

A request that hung may be done long after it was given up, when the run was made once more. The
late one is always empty: nobody ever learnt its id, so nobody wrote to it.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.faults import StoreRefused
from teststrip.track.runs import search_all

log = logging.getLogger(__name__)


def remove_doubles(connection: Connection, name: str) -> int:
    """Delete empty second runs of study `name` and of its recipes; how many there were.

    Deleted as MLflow deletes: it can be undone. Raises StorageError.
    """
    with connection.border(f"look for runs of study {name!r} that were made twice"):
        parents = search_all(connection, {names.KIND: "study", names.STUDY: name})
        recipes = search_all(connection, {names.KIND: "recipe", names.STUDY: name})
        used = {run.data.tags.get(names.PARENT) for run in recipes}
        empty = _empty_twins(parents, (names.CONFIG,), used)
        empty += _empty_twins(recipes, (names.PARENT, names.RECIPE_ID), set())
        for run in empty:
            _delete(connection, str(run.info.run_id))
        return len(empty)


def _empty_twins(runs: Iterable[Any], tags: tuple[str, ...], used: set[Any]) -> list[Any]:
    """Of runs with the same tags, those that hold nothing, unless that would be all of them."""
    alike = defaultdict(list)
    for run in runs:
        alike[tuple(run.data.tags.get(tag) for tag in tags)].append(run)
    found = []
    for group in alike.values():
        empty = [
            run
            for run in group
            if not run.data.params and not run.data.metrics and run.info.run_id not in used
        ]
        found += empty if len(empty) < len(group) else empty[1:]
    return found


def _delete(connection: Connection, run_id: str) -> None:
    try:
        with connection.border(f"delete run {run_id}, which was made twice"):
            connection.client.delete_run(run_id)
    except StoreRefused as exc:  # who may write may not always delete
        log.warning("%s; it is empty and may be deleted by hand", exc)
