"""Settings of the tracking server: where it keeps things, who may come in. TESTSTRIP_TRACK_*.

Nothing set: SQLite and a folder under TESTSTRIP_HOME, log-in on. Secrets come from the environment
or from files (`..._FILE`) and are never shown.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Names = Annotated[tuple[str, ...], NoDecode]
SECRETS = ("backend", "login_backend", "admin_password", "secret_key")
SCHEMES = ("s3://", "gs://")


class ServerConfig(BaseSettings):
    """All of it; every field is TESTSTRIP_TRACK_<FIELD> in the environment.

    Those of `SECRETS` may be given as a file: TESTSTRIP_TRACK_<FIELD>_FILE.
    """

    model_config = SettingsConfigDict(
        env_prefix="TESTSTRIP_TRACK_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    # where it keeps things
    backend: SecretStr | None = None  # postgresql://user:password@host/db; None: SQLite in home
    login_backend: SecretStr | None = None  # users: a database of their own; None: <db>_login
    artifacts: str = ""  # s3://bucket/prefix, gs://bucket/prefix or a folder; "": in home
    s3_endpoint: str | None = None  # http://127.0.0.1:9000; None: AWS
    migrate: bool = True  # bring the database up to date at the start; off: `track migrate` does

    # who may come in
    login: Literal["on", "off", "proxy"] = "on"  # proxy: something before it asks who they are
    admin_username: str = Field(default="admin", pattern=r"^[A-Za-z0-9._@-]{1,64}$")
    admin_password: SecretStr | None = None  # None: made at the first start, shown once, kept 0600
    secret_key: SecretStr | None = None  # signs forms; the same on all replicas; None: made, kept
    default_permission: Literal["READ", "EDIT", "MANAGE", "NO_PERMISSIONS"] = "NO_PERMISSIONS"
    public_url: str = ""  # https://mlflow.example.org: what browsers and clients call it
    allow_hosts: Names = ()  # further names it is called by, with a port or without
    trusted_proxies: Names = ()  # addresses or networks whose X-Forwarded-For is believed

    # how it runs
    workers: int = Field(default=1, ge=1, le=32)  # processes; one takes 300 to 600 MB
    metrics: bool = True  # /metrics for Prometheus, for those who are logged in
    log: Literal["auto", "text", "json"] = "auto"  # auto: text at a terminal, else JSON lines

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, given: str) -> str:
        parts = urlsplit(given)
        if given and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("is no address; write it as https://mlflow.example.org")
        return given.rstrip("/")

    @field_validator("artifacts")
    @classmethod
    def _is_place(cls, given: str) -> str:
        if "://" in given and not given.startswith(SCHEMES):
            raise ValueError("s3://bucket/prefix, gs://bucket/prefix or a folder is accepted")
        return given.rstrip("/")

    @field_validator("backend", "login_backend")
    @classmethod
    def _is_database(cls, given: SecretStr | None) -> SecretStr | None:
        if given and not given.get_secret_value().startswith(("postgresql", "sqlite:///")):
            raise ValueError(
                "postgresql://user:password@host/database or sqlite:///file is accepted"
            )
        return given

    @model_validator(mode="before")
    @classmethod
    def _lists_by_comma(cls, data: dict[str, object]) -> dict[str, object]:
        for field in ("allow_hosts", "trusted_proxies"):
            if isinstance(given := data.get(field), str):
                names = tuple(n.strip().lower() for n in given.split(",") if n.strip())
                data = data | {field: names}
        return data

    @model_validator(mode="after")
    def _belongs_together(self) -> "ServerConfig":
        if self.admin_password and len(self.admin_password.get_secret_value()) < 12:
            raise ValueError("admin_password is too short: at least 12 characters")
        if self.secret_key and len(self.secret_key.get_secret_value()) < 16:
            raise ValueError("secret_key is too short: at least 16 characters")
        return self

    def folder(self, home: Path) -> Path:
        """What the server keeps on this machine: SQLite files, artifacts, secrets."""
        return home / "track"
