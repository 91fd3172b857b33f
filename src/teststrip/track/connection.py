"""The MLflow store: `MLFLOW_TRACKING_URI` where it is set, else sqlite under the home folder.

A server takes MLflow's own environment for log-in (MLFLOW_TRACKING_USERNAME, _PASSWORD, _TOKEN);
nothing of it is read or kept here. What went wrong is told apart in faults.py.
"""

import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from teststrip.errors import MissingExtra, StorageError
from teststrip.files import storage_error
from teststrip.track import faults

_SECRET = re.compile(r"//[^/@\s]*@")
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# Read by MLflow when it is imported or when it talks; a user's own value always stays.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The defaults retry a dead server for minutes; a study should hear of it within seconds.
    _RETRIES: "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
PROBE_S = 5  # how long a server that may be away is waited for


def without_login(text: str) -> str:
    """An address, or words around one, without any name and password in it."""
    return _SECRET.sub("//", text)


class Connection:
    """A client and its experiment, opened on first use.

    MLflow is imported here and now (1.6 s), in the caller's thread; a new sqlite file needs
    another 4 s of migrations, which run in a thread so that models can load meanwhile.
    Raises MissingExtra without MLflow, StorageError where the folder may not be written to.
    """

    def __init__(self, home: Path, experiment: str = "teststrip") -> None:
        # Set here and not on import: importing Teststrip changes nothing around it.
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.experiment = experiment
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or ""
        self._artifacts: str | None = None
        import_mlflow()
        is_new = False
        if not self.uri:
            home = home.resolve()
            try:
                (home / "artifacts").mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise storage_error(home, exc) from exc
            is_new = not (home / "mlflow.db").exists()
            self.uri = f"sqlite:///{home / 'mlflow.db'}"
            self._artifacts = (home / "artifacts" / experiment).as_uri()
        self._ready: tuple[Any, str] | None = None
        self._opening: Future[tuple[Any, str]] | None = None
        if is_new:
            # Not a daemon: leaving in the middle of a migration would spoil the new file.
            with_one = ThreadPoolExecutor(1, thread_name_prefix="mlflow-open")
            self._opening = with_one.submit(self._open)
            with_one.shutdown(wait=False)

    @property
    def shown(self) -> str:
        """The address without a password, for messages."""
        return without_login(self.uri)

    @property
    def is_local(self) -> bool:
        """Is it a file of this machine? Then it is never away."""
        return self.uri.startswith(("sqlite:", "file:", "/", "./"))

    @property
    def client(self) -> Any:
        """The MlflowClient. Raises StorageError where the store cannot be reached."""
        return self._opened()[0]

    @property
    def experiment_id(self) -> str:
        """The experiment's id; it is made where it does not exist."""
        return self._opened()[1]

    @contextmanager
    def border(self, doing: str) -> Iterator[None]:
        """Turn what MLflow, its HTTP client and the disk raise into one StorageError."""
        import requests
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except StorageError:
            raise
        except (MlflowException, requests.RequestException, SQLAlchemyError, OSError) as exc:
            first = str(exc).strip().partition("\n")[0][:300]
            reason = without_login(first if self.is_local else faults.words(exc))
            kind = StorageError if self.is_local else faults.kind_of(exc)
            hint = (
                "is the disk full, or the folder read-only? TESTSTRIP_HOME chooses another"
                if self.is_local
                else "is the server up and the log-in right (MLFLOW_TRACKING_URI, "
                "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)? Without "
                "MLFLOW_TRACKING_URI the record goes to a local file; a study that stopped "
                "here can be resumed"
            )
            raise kind(f"MLflow at {self.shown}: cannot {doing}: {reason}. {hint}") from exc

    def answers(self) -> bool:
        """Does the store answer now? Any answer but a fault of the server counts; waits for 5 s."""
        if not self.uri.startswith(("http:", "https:")):
            return True  # a database's own time limit decides
        import requests
        from mlflow.exceptions import MlflowException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        try:
            found = http_request(
                get_default_host_creds(self.uri),
                "/api/2.0/mlflow/experiments/get-by-name",  # asks the database, too
                "GET",
                params={"experiment_name": self.experiment},
                timeout=PROBE_S,
                max_retries=0,
                raise_on_status=False,
            )
        except (MlflowException, requests.RequestException, OSError):
            return False
        return not faults.is_away(int(found.status_code))

    def _opened(self) -> tuple[Any, str]:
        if self._ready is None:
            self._ready = self._opening.result() if self._opening else self._open()
            self._opening = None
        return self._ready

    def _open(self) -> tuple[Any, str]:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        with self.border("open the store"):
            client = MlflowClient(tracking_uri=self.uri)
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                try:
                    made = client.create_experiment(self.experiment, self._artifacts)
                except MlflowException:  # another process was faster
                    found = client.get_experiment_by_name(self.experiment)
                    if found is None:
                        raise
                else:
                    return client, str(made)
            if found.lifecycle_stage != "active":
                raise StorageError(
                    f"MLflow at {self.shown}: experiment {self.experiment!r} is deleted; restore "
                    "it (mlflow experiments restore) or choose another name"
                )
            return client, str(found.experiment_id)


class _Once:
    """See `sent_once`. A count, since several threads may ask for it at once."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.Lock(), 0
        self._before: str | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._depth == 0:
                self._before = os.environ.get(_RETRIES)
                os.environ[_RETRIES] = "0"
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    if self._before is None:
                        os.environ.pop(_RETRIES, None)
                    else:
                        os.environ[_RETRIES] = self._before


sent_once = _Once()
"""Within it MLflow's HTTP client sends every request once.

It repeats whatever had no answer, a POST that makes a run as well: where only the answer was lost,
that is a second run. Its number of tries can be set nowhere but in the environment.
"""


def import_mlflow() -> None:
    """Import it here and now. Raises MissingExtra.

    Its mappers warn once; another thread that changes filters of warnings meanwhile would let
    that through, so a program that makes errors of warnings calls this before it has threads.
    """
    try:
        with warnings.catch_warnings():
            # MLflow 3.17 on SQLAlchemy 2.1: its mappers use a deprecated loader; said once, here
            warnings.simplefilter("ignore")
            import mlflow.store.tracking.dbmodels.models  # noqa: F401
            import sqlalchemy.orm

            sqlalchemy.orm.configure_mappers()
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"recording in MLflow (package {exc.name})", "track") from exc
    # "Creating initial MLflow database tables..." is no news for a study's console
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
