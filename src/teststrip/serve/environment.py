"""ServiceConfig from the environment, with every fault at once and no secret in any of them."""

from collections.abc import Mapping

from teststrip import environment
from teststrip.serve.config import ServiceConfig

SECRETS = ("broker", "redis")  # the secret itself has `secret_file`, for each process reads it anew
CLIENT = ("KEY", "URL")  # of those who use a service (`serve.fleet`), not of the service


def read_config(environ: Mapping[str, str] | None = None) -> ServiceConfig:
    """The settings of this process. Raises ConfigError.

    TESTSTRIP_SERVICE_BROKER_FILE and _REDIS_FILE name files that hold what their settings would.
    """
    return environment.read(
        ServiceConfig, "the service's settings", files=SECRETS, others=CLIENT, environ=environ
    )
