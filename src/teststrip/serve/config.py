"""Settings of the service: which parts it is made of, and its limits. TESTSTRIP_SERVICE_*.

Nothing set: one process, no server. `broker`, `redis` and `store` name the real ones. Secrets come
from the environment or from files (`..._FILE`) and are never shown.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from teststrip.errors import ConfigError
from teststrip.files import make_secret

Names = Annotated[tuple[str, ...], NoDecode]


class ServiceConfig(BaseSettings):
    """All of it; every field is TESTSTRIP_SERVICE_<FIELD> in the environment.

    Raises (through `config.parse`) ConfigError with every fault at once.
    """

    model_config = SettingsConfigDict(
        env_prefix="TESTSTRIP_SERVICE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    # parts
    broker: SecretStr | None = None  # amqp://user:password@host:5672/vhost
    redis: SecretStr | None = None  # redis://:password@host:6379/0
    store: str = ""  # s3://bucket/prefix, or a folder; "" = <home>/service/images
    s3_endpoint: str | None = None  # http://127.0.0.1:9000; None = AWS
    s3_public_endpoint: str | None = None  # where clients reach it: goes into signed addresses
    s3_region: str = "us-east-1"
    namespace: str = Field(default="teststrip", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    secret: SecretStr | None = None  # signs job names, sessions, webhooks; shared by all webs
    secret_file: Path | None = None
    keys_file: Path | None = None  # API keys, hashed (`teststrip service keys`)

    # what is served
    champion: str = Field(default="", max_length=128)  # model name in the MLflow registry
    champion_version: str = ""  # pin; "" follows the alias
    champion_poll_s: float = Field(default=15, gt=0)
    models: Names = ("builtin",)  # that recipes may name
    recipes_file: Path | None = None  # YAML: name -> recipe fields
    templates_file: Path | None = None  # YAML: name -> text with {product}
    engine: str = "local"  # or module:attribute, see serve.worker.stepper

    # limits
    max_body_bytes: int = Field(default=64 * 1024, ge=1024)
    max_prompt_chars: int = Field(default=2000, ge=1, le=8000)
    max_steps: int = Field(default=150, ge=1, le=1000)
    max_pixels: int = Field(default=1024 * 1024, ge=256)
    max_n: int = Field(default=10, ge=1, le=64)
    max_batch: int = Field(default=1000, ge=1)
    max_queued: int = Field(default=20_000, ge=1)
    max_queued_per_key: int = Field(default=10_000, ge=1)
    result_ttl_s: float = Field(default=7 * 86400, ge=1)
    url_ttl_s: float = Field(default=3600, ge=1, le=86400)
    openai_timeout_s: float = Field(default=600, ge=1)
    allow_private_webhooks: bool = False

    # workers
    slots: int = Field(default=0, ge=0)  # images under way in one worker; 0 = the engine's rows
    open_models: int = Field(default=1, ge=1)  # that one worker keeps loaded
    preview_every_s: float = Field(default=0.5, ge=0)  # of each picture under way; 0 = none
    patience_s: float = Field(default=120, ge=0)  # pictures are held so long for an absent store
    lease_s: float = Field(default=60, ge=1)
    max_attempts: int = Field(default=4, ge=1, le=20)
    retry_base_s: float = Field(default=2, ge=0)
    drain_s: float = Field(default=120, ge=0)
    idle_exit_s: float = Field(default=0, ge=0)  # a worker without jobs for so long ends; 0: never
    sweep_s: float = Field(default=10, gt=0)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)  # of a worker; 0 = none
    log: Literal["auto", "text", "json"] = "auto"  # auto: text at a terminal, else JSON lines

    @model_validator(mode="before")
    @classmethod
    def _lists_by_comma(cls, data: dict[str, object]) -> dict[str, object]:
        if isinstance(given := data.get("models"), str):
            data = data | {"models": tuple(m.strip() for m in given.split(",") if m.strip())}
        return data

    @model_validator(mode="after")
    def _belongs_together(self) -> "ServiceConfig":
        if (self.broker is None) != (self.redis is None):
            raise ValueError(
                "broker and redis go together: set both (web and workers apart) or none (`up`)"
            )
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file are both set; set one of them")
        if self.secret is not None and len(self.secret.get_secret_value()) < 16:
            raise ValueError("secret is too short: at least 16 characters")
        return self

    @property
    def kind(self) -> Literal["one process", "apart"]:
        """Is everything in one process, or web and workers apart?"""
        return "one process" if self.broker is None else "apart"

    def the_secret(self, home: Path) -> bytes:
        """The shared secret; one process without one makes and keeps its own under `home`.

        Raises ConfigError where web and workers are apart and none is set, or it cannot be read.
        """
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.secret_file or home / "service" / "secret"
        try:
            if self.secret_file is None and self.kind == "one process" and not path.exists():
                make_secret(path)
            found = path.read_bytes().strip()
        except OSError as exc:
            raise ConfigError(
                "web processes share a secret: set TESTSTRIP_SERVICE_SECRET (16 characters or "
                f"more) or TESTSTRIP_SERVICE_SECRET_FILE ({path}: {exc.strerror})"
            ) from exc
        if len(found) < 16:
            raise ConfigError(f"{path}: the secret is too short: at least 16 bytes")
        return found
