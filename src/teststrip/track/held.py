"""Held: what the store is known to have of one run, so that nothing is asked for or sent twice."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from teststrip.errors import StorageError
from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.runs import send_batch


class Held:
    """One run as it was read or made, kept up to date by what is sent through it.

    Right only while nobody else writes to the run: after any error it is dropped and read anew.
    """

    def __init__(self, connection: Connection, run: Any, status: str = "") -> None:
        self._connection = connection
        self.run_id = str(run.info.run_id)
        self.address = str(run.info.artifact_uri)
        self._began = int(run.info.start_time or 0)
        self.params: dict[str, str] = dict(run.data.params)
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self.tags: dict[str, str] = dict(run.data.tags)
        self._status = status or str(run.info.status)

    def add(
        self,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send what the run does not have yet. A parameter that is there can't be changed."""
        texts = {names.key(k): names.fitted(names.text(v)) for k, v in (params or {}).items()}
        new_params = {k: v for k, v in texts.items() if k not in self.params}
        numbers = names.finite(metrics or {})
        new_metrics = {k: v for k, v in numbers.items() if self.metrics.get(k) != v}
        new_tags = {k: v for k, v in (tags or {}).items() if self.tags.get(k) != v}
        if new_params or new_metrics or new_tags:
            # A first value is stamped with the run's own beginning: where a batch that was given up
            # as lost arrives after all, the one sent in its place is the same point.
            stamps = {k: self._began for k in new_metrics if k not in self.metrics}
            send = partial(send_batch, self._connection, self.run_id, stamps=stamps)
            send(new_params, new_metrics, new_tags)
        self.params |= new_params
        self.metrics |= new_metrics
        self.tags |= new_tags

    def end(self, word: str) -> None:
        """Close the run, or open it again, with MLflow's own word for how it ended."""
        if self._status != word:
            self._connection.client.set_terminated(self.run_id, word)
        self._status = word


def recorded_pictures(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, digest of its page or "") of every picture that a recipe's run says it has.

    Raises StorageError for a tag that somebody changed by hand.
    """
    for tag, value in tags.items():
        for prefix in (names.PACK, names.SINGLE):
            if tag.startswith(prefix):
                page = tag.removeprefix(prefix) if prefix == names.PACK else ""
                try:
                    listed = [str(name) for name in json.loads(value)]
                except (ValueError, TypeError) as exc:
                    raise StorageError(f"tag {tag!r} is no list of pictures: {exc}") from exc
                yield from ((name, page) for name in listed)


def picture_tag(prefix: str, digest: str, pictures: Iterable[str]) -> dict[str, str]:
    """The tag that says which pictures these are; `recorded_pictures` reads it."""
    return {f"{prefix}{digest}": json.dumps(list(pictures), ensure_ascii=False)}
