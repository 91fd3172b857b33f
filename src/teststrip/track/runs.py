"""Runs in MLflow: found by their tags before they are made, parameters sent once."""

import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from teststrip.errors import StorageError
from teststrip.track import names
from teststrip.track.connection import Connection

PARAMS_PER_CALL, TAGS_PER_CALL, METRICS_PER_CALL = 100, 100, 1000  # MLflow's own limits
METRICS_BESIDE = METRICS_PER_CALL - PARAMS_PER_CALL - TAGS_PER_CALL  # 1000 of all kinds together


def opened_run(
    connection: Connection, name: str, own: Mapping[str, str], more: Mapping[str, str]
) -> Any:
    """The newest run with the tags `own`, running again; or a new one that has `more`, too."""
    client = connection.client
    run = find_run(connection, own)
    if run is None:
        tags = {**own, **more}
        return client.create_run(connection.experiment_id, tags=tags, run_name=name)
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    return run


def find_run(connection: Connection, tags: Mapping[str, str]) -> Any | None:
    """The newest run with these tags."""
    found = connection.client.search_runs(
        [connection.experiment_id],
        _matching(tags),
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def search_all(connection: Connection, tags: Mapping[str, str]) -> list[Any]:
    """Every run of the experiment with these tags, page by page."""
    runs: list[Any] = []
    token: str | None = None
    while True:
        page = connection.client.search_runs(
            [connection.experiment_id], _matching(tags), max_results=1000, page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def send_params(
    connection: Connection, run_id: str, params: Mapping[str, Any], known: Mapping[str, str]
) -> None:
    """Send those that are not `known` by the run; one that is there can't be changed."""
    from mlflow.entities import Param

    new = {names.key(k): names.fitted(names.text(v)) for k, v in params.items()}
    send = [Param(k, v) for k, v in new.items() if k not in known]
    for part in parts(send, PARAMS_PER_CALL):
        connection.client.log_batch(run_id, params=part)


def send_batch(
    connection: Connection,
    run_id: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    *,
    stamps: Mapping[str, int],
) -> None:
    """Send all of it, in one call where MLflow's limits let it; names and values as it takes them.

    `stamps`: metric -> milliseconds since 1970, now for others. Tags go last: whoever finds
    them knows that all before them is there.
    """
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    some_params = parts([Param(k, v) for k, v in params.items()], PARAMS_PER_CALL)
    some_metrics = parts(
        [Metric(k, v, stamps.get(k) or now, 0) for k, v in metrics.items()], METRICS_BESIDE
    )
    some_tags = parts([RunTag(k, v) for k, v in tags.items()], TAGS_PER_CALL)
    before = max(len(some_params), len(some_metrics), 1) - 1 if some_tags else 0
    some_tags = [()] * before + some_tags
    for one in zip_longest(some_params, some_metrics, some_tags, fillvalue=()):
        connection.client.log_batch(run_id, params=one[0], metrics=one[1], tags=one[2])


def parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """`items` in pieces of at most `size`."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def _matching(tags: Mapping[str, str]) -> str:
    """MLflow's search text for runs with these tags."""
    return " and ".join(f"tags.`{k}` = '{_quoted(v)}'" for k, v in tags.items())


def _quoted(value: str) -> str:
    if "'" in value:
        raise StorageError(f"{value!r}: MLflow cannot search for a name with a quote in it")
    return value
