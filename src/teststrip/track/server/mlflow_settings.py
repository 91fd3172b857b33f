"""Our settings as MLflow's environment, which it reads when its server is imported."""

from collections.abc import Mapping, MutableMapping

from teststrip.track.server.config import ServerConfig
from teststrip.track.server.kept import LOGIN_INI, SECRET_KEY, Kept
from teststrip.track.server.names import allowed_hosts, allowed_origins
from teststrip.track.server.places import Places

REMEMBER_S = 60  # a password that was right; hashing it anew costs 100 ms and more a request
# Set by whoever calls `mlflow server` with flags; here they would change what our settings say.
FOREIGN = ("MLFLOW_", "_MLFLOW_", "prometheus_multiproc_dir")
# Of MLflow's own settings these may be given: pools, time-outs and keys of its database and bucket.
ACCEPTED = (
    *("MLFLOW_SQLALCHEMYSTORE_", "MLFLOW_S3_", "MLFLOW_GCS_", "MLFLOW_HTTP_REQUEST_"),
    *("MLFLOW_ARTIFACT_", "MLFLOW_CRYPTO_", "MLFLOW_LOGGING_"),
)


def environment(places: Places, config: ServerConfig, host: str, *, kept: Kept) -> dict[str, str]:
    """Variables for a server that listens at `host`. Writes the log-in's ini file.

    Raises StorageError where the folder may not be written to.
    """
    made = {
        "_MLFLOW_SERVER_FILE_STORE": places.backend,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": places.artifacts,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",  # clients hold no keys
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts(host, config)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(allowed_origins(config)),
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
        "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # its log is no terminal
        "MLFLOW_CONFIGURE_LOGGING": "false",  # ours is
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
    }
    if config.s3_endpoint:
        made["MLFLOW_S3_ENDPOINT_URL"] = config.s3_endpoint
    if config.login == "on":
        key = config.secret_key.get_secret_value() if config.secret_key else ""
        made["MLFLOW_FLASK_SERVER_SECRET_KEY"] = key or kept.made(SECRET_KEY)[0]
        made["MLFLOW_AUTH_CONFIG_PATH"] = str(kept.written(LOGIN_INI, login_ini(places, config)))
        made["_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED"] = "true"  # by us, see people.py
    return made


def put(environ: MutableMapping[str, str], made: Mapping[str, str]) -> None:
    """Into the environment of this process, whose foreign MLflow settings go."""
    for name in list(environ):
        if name.startswith(FOREIGN) and not name.startswith(ACCEPTED):
            del environ[name]
    environ.update(made)


def login_ini(places: Places, config: ServerConfig) -> str:
    """MLflow's file of settings for its log-in; a percent sign is doubled there."""
    uri = places.login.replace("%", "%%")
    return "\n".join(
        [
            "[mlflow]",
            f"default_permission = {config.default_permission}",
            f"database_uri = {uri}",
            f"admin_username = {config.admin_username}",
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
            "grant_default_workspace_access = false",
            f"auth_cache_ttl_seconds = {REMEMBER_S}",
            "",
        ]
    )
