"""TrainingTracker: a training run in MLflow, with steps, images by checkpoint and lineage.

What is in the run's folder is the record; this sends what the store does not have yet, so a run
that was killed, or whose server was away, is complete again after the next call.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.track import names
from teststrip.track.connection import Connection, sent_once
from teststrip.track.outbox.box import TRAININGS, Box, Store
from teststrip.track.runs import (
    METRICS_PER_CALL,
    find_run,
    opened_run,
    parts,
    send_params,
)

KIND, RUN = "training", "teststrip.run"
DATASET = "teststrip.dataset_hash"
WHY = "teststrip.why"
ENDED = {"failed": "FAILED", "stopped": "KILLED", "running": "RUNNING"}


class TrainingTracker:
    """One training run as an MLflow run in the experiment of `home`'s store.

    `parent`: run id of a search whose trial this is, or what gives it when the run is opened. Only
    the client API is used: no active run. All calls raise StorageError where the store refuses, and
    may be repeated. One thread at a time.
    """

    def __init__(
        self,
        home: Path,
        experiment: str = "teststrip",
        parent: str | Callable[[], str] | None = None,
    ) -> None:
        self._connection = Connection(home, experiment)
        self._store = Store(home.resolve(), self._connection.shown, experiment)
        self._parent = parent
        self._run_id = ""
        self._sent: dict[str, int] = {}

    @property
    def run_id(self) -> str:
        """The MLflow run; empty before `start`."""
        return self._run_id

    @property
    def uri(self) -> str:
        """Where the record goes, without any password."""
        return self._connection.shown

    @property
    def connection(self) -> Connection:
        """Which store it speaks to."""
        return self._connection

    def box(self, name: str) -> Box:
        """Where what run `name` could not say yet waits."""
        return self._store.box(TRAININGS, name)

    def start(self, name: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Open the run, or find the one it had before it was killed; returns its id."""
        with self._connection.border(f"open training run {name!r}"):
            client = self._connection.client
            own = {names.KIND: KIND, RUN: name, names.CONFIG: names.config_hash(config)}
            if self._parent:
                own[names.PARENT] = (
                    self._parent if isinstance(self._parent, str) else self._parent()
                )
            more = {k: names.fitted(v, names.MAX_TAG) for k, v in tags.items()}
            with sent_once():
                run = opened_run(self._connection, name, own, more)
            self._run_id = str(run.info.run_id)
            send_params(self._connection, self._run_id, names.flat(config), run.data.params)
            self._sent = {
                key: max((p.step for p in client.get_metric_history(self._run_id, key)), default=-1)
                for key in run.data.metrics
            }
            return self._run_id

    def log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Send rows of metrics.jsonl (`step` and numbers). What was sent before is left out; what
        is not finite is, too. `time`: seconds since 1970; the same point with the same time is one
        point, however often it arrives."""
        with self._connection.border("record metrics"):
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            sent = dict(self._sent)
            metrics = []
            for row in rows:
                step = int(row["step"])
                stamp = int(row["time"] * 1000) if "time" in row else now
                numbers = {k: v for k, v in row.items() if k not in ("step", "time")}
                for key, value in names.finite(numbers).items():
                    if step > sent.get(key, -1):
                        metrics.append(Metric(key, value, stamp, step))
                        sent[key] = step
            for part in parts(metrics, METRICS_PER_CALL):
                self._connection.client.log_batch(self._run_id, metrics=part)
            self._sent = sent

    def rewind(self, step: int) -> None:
        """The run goes on from `step` once more: later numbers are sent again, and count."""
        self._sent = {key: min(last, step) for key, last in self._sent.items()}

    def files(self, paths: Sequence[Path], folder: str | None = None) -> None:
        """Upload files as they are; missing ones are left out."""
        with self._connection.border("record files"):
            for path in paths:
                if path.is_file():
                    self._connection.client.log_artifact(self._run_id, str(path), folder)

    def folder(self, path: Path, under: str) -> None:
        """Upload a folder's files; what is there under that name is replaced."""
        with self._connection.border(f"record {under}"):
            if path.is_dir():
                self._connection.client.log_artifacts(self._run_id, str(path), under)

    def dataset(self, name: str, digest: str, source: str, pictures: Mapping[str, int]) -> None:
        """Link the pictures it is trained on: `digest` as MLflow's dataset digest (36 characters),
        the whole hash as a tag. `pictures`: split -> how many."""
        with self._connection.border("record the dataset"):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            entity = Dataset(
                name=names.fitted(name, 500),
                digest=digest[:36],
                source_type="local",
                source=json.dumps({"uri": source}),
                profile=json.dumps(dict(pictures)),
            )
            tagged = DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
            client = self._connection.client
            client.log_inputs(self._run_id, datasets=[tagged])
            client.set_tag(self._run_id, DATASET, digest)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        with self._connection.border("record tags"):
            for key, value in tags.items():
                text = names.fitted(value, names.MAX_TAG)
                self._connection.client.set_tag(self._run_id, key, text)

    def finish(self, state: str, why: str = "") -> None:
        """Close the run: `finished`, `stopped` or `failed`."""
        self.tag({names.STATUS: state} | ({WHY: why} if why else {}))
        with self._connection.border("close the run"):
            self._connection.client.set_terminated(self._run_id, ENDED.get(state, "FINISHED"))


def find_training(connection: Connection, name: str) -> Any | None:
    """The newest MLflow run of training `name`, or None."""
    with connection.border(f"find training run {name!r}"):
        return find_run(connection, {names.KIND: KIND, RUN: name})
