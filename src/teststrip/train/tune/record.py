"""A search in MLflow: one parent run, each trial's training run below it."""

from pathlib import Path
from typing import Any

from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.mlflow import matching
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.folder import TuneFolder
from teststrip.train.tune.report import TuneReport

KIND, TUNE = "tuning", "teststrip.tune"


class TuneRecord:
    """The parent run of a search. All calls raise StorageError where the store refuses."""

    def __init__(self, home: Path, config: TuneConfig) -> None:
        self._connection = Connection(home)
        self._config = config
        self._run_id = ""

    def start(self) -> str:
        """Open the run, or find the one it had before it was killed; returns its id."""
        with self._connection.border(f"open search {self._config.name!r}"):
            from mlflow.entities import Param

            client = self._connection.client
            tags = {names.KIND: KIND, TUNE: self._config.name}
            found = client.search_runs(
                [self._connection.experiment_id],
                matching(tags),
                max_results=1,
                order_by=["attributes.start_time DESC"],
            )
            if found:
                run = found[0]
                client.update_run(run.info.run_id, status="RUNNING")
            else:
                run = client.create_run(
                    self._connection.experiment_id, tags=tags, run_name=self._config.name
                )
            self._run_id = str(run.info.run_id)
            params = [
                Param(names.key(key), names.fitted(names.text(value)))
                for key, value in names.flat(self._config.resolved()).items()
            ]
            new = [param for param in params if param.key not in run.data.params]
            for first in range(0, len(new), 100):
                client.log_batch(self._run_id, params=new[first : first + 100])
            return self._run_id

    def finish(self, report: TuneReport, folder: TuneFolder) -> None:
        """The best trial, how many ended how, the report as files; the run is closed."""
        with self._connection.border(f"finish search {self._config.name!r}"):
            client = self._connection.client
            for name, value in names.finite(_numbers(report)).items():
                client.log_metric(self._run_id, name, value)
            if report.best is not None:
                client.set_tag(self._run_id, "teststrip.best", report.best.name)
            for path in (folder.report, folder.page, folder.best):
                if path.is_file():
                    client.log_artifact(self._run_id, str(path))
            self.end(report.state)

    def end(self, state: str, why: str = "") -> None:
        """Close the run: `finished`, `stopped` or `failed`."""
        ended = {"finished": "FINISHED", "stopped": "KILLED"}.get(state, "FAILED")
        with self._connection.border(f"close search {self._config.name!r}"):
            client = self._connection.client
            client.set_tag(self._run_id, names.STATUS, state)
            if why:
                client.set_tag(self._run_id, "teststrip.why", names.fitted(why, names.MAX_TAG))
            client.set_terminated(self._run_id, ended)


def _numbers(report: TuneReport) -> dict[str, Any]:
    found: dict[str, Any] = {
        f"trials_{state}": report.count(state) for state in ("finished", "pruned", "failed")
    }
    if report.repeats:
        value = report.repeats[0].value
        found |= {"best": value.mean, "best_low": value.low, "best_high": value.high}
    elif report.best is not None:
        found["best"] = report.best.value
    return found
