"""MLflow's own server app with our layers around it. Its environment is set before this is called.

From outside to inside: numbers, the page of numbers, the brake on guessed passwords, rooms that
are closed; then MLflow: names it answers to, foreign pages, log-in, permissions, routes.
"""

import warnings
from typing import TYPE_CHECKING, Any

from teststrip.track.server.config import ServerConfig
from teststrip.track.server.places import Places

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def create(places: Places, config: ServerConfig) -> "ASGIApp":
    """The whole app, its stores opened. Takes seconds and 300 MB: MLflow is imported."""
    from teststrip.track.server.brake import Brake
    from teststrip.track.server.closed import Closed
    from teststrip.track.server.metrics_page import MetricsPage
    from teststrip.track.server.numbers import Counted, Numbers
    from teststrip.track.server.up import Up

    login = config.login == "on"
    uris = [places.backend, places.login] if login else [places.backend]
    folders = [f for f in (places.folder, places.artifact_folder) if f is not None]
    numbers = Numbers(Up(uris), folders)
    app: ASGIApp = Closed(mlflow_app(places, login=login))
    if login:
        app = Brake(app, numbers.login_failures.inc, Up([places.login]))
    if config.metrics:
        app = MetricsPage(app, numbers, login=login, several=config.workers > 1)
    return Counted(app, numbers)


def mlflow_app(places: Places, *, login: bool) -> Any:
    """MLflow's app, with its log-in where it is on."""
    with warnings.catch_warnings():
        # of MLflow's own imports and mappers; nothing that a user could mend
        warnings.simplefilter("ignore")
        from mlflow.server import handlers

        if login:
            from mlflow.server.auth import create_app

            made = create_app()
        else:
            from mlflow.server import fastapi_app

            made = fastapi_app.app
        handlers.initialize_backend_stores(places.backend, places.backend, "mlflow-artifacts:/")
        return made
