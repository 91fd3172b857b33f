"""A search in MLflow: one parent run, each trial's training run below it."""

from pathlib import Path
from typing import Any

from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.runs import opened_run, send_params
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
            own = {names.KIND: KIND, TUNE: self._config.name}
            run = opened_run(self._connection, self._config.name, own, {})
            self._run_id = str(run.info.run_id)
            params = names.flat(self._config.resolved())
            send_params(self._connection, self._run_id, params, run.data.params)
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
