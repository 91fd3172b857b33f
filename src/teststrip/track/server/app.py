"""MLflow's own server app with our layers around it. Its environment is set before this is called.

From outside to inside: numbers, the brake on guessed passwords, rooms that are closed, then MLflow:
names it answers to, foreign pages, log-in, permissions, routes.
"""

import logging
import warnings
from typing import TYPE_CHECKING, Any

from teststrip.track.server.config import ServerConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)


def create(config: ServerConfig) -> "ASGIApp":
    """The whole app. Takes seconds and 300 MB: MLflow is imported."""
    return mlflow_app(config)


def mlflow_app(config: ServerConfig) -> Any:
    """MLflow's app, with its log-in where it is on."""
    with warnings.catch_warnings():
        # of MLflow's own imports and mappers; nothing that a user could mend
        warnings.simplefilter("ignore")
        if config.login == "on":
            from mlflow.server.auth import create_app

            return create_app()
        from mlflow.server.fastapi_app import app

        return app
