"""The service's parts by its settings: one process with memory and files, or real servers."""

import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from teststrip.errors import ConfigError, MissingExtra
from teststrip.settings import Settings

if TYPE_CHECKING:
    from teststrip.serve.config import ServiceConfig
    from teststrip.serve.parts import Parts
    from teststrip.serve.queue.base import JobQueue
    from teststrip.serve.state.base import JobState
    from teststrip.serve.web.keys import KeyRing
    from teststrip.serve.worker.stepper import OpenStepper, Stepper

Role = Literal["up", "web", "worker", "admin"]
PLACE = Path("service")
MOST_KEPT = 1_000_000


def parts(home: Path, config: "ServiceConfig", role: Role) -> "Parts":
    """Everything a process of this role needs, not opened yet.

    Raises ConfigError where the settings do not fit the role, MissingExtra without the packages.
    """
    from teststrip.serve.jobs.ids import JobIds

    _check_role(config, role)
    try:
        from teststrip.serve.parts import Parts
        from teststrip.serve.store.choose import store_of

        return Parts(
            home=home,
            config=config,
            ids=JobIds(_secret(home, config, role)),
            state=_state(home, config),
            store=store_of(config, home),
            queue=_queue(home, config),
        )
    except ModuleNotFoundError as exc:
        raise missing(exc) from exc


def missing(exc: ModuleNotFoundError) -> Exception:
    """What to say when a package of the service is not there; a fault of our own stays itself."""
    if exc.name is None or exc.name.startswith("teststrip"):
        return exc
    return MissingExtra(f"the service (package {exc.name})", "service")


def key_ring(config: "ServiceConfig") -> "KeyRing | None":
    """The API keys; None where no file is set, then only this machine may ask."""
    from teststrip.serve.web.keys import KeyRing

    return KeyRing(config.keys_file) if config.keys_file is not None else None


def stepper_factory(config: "ServiceConfig") -> "OpenStepper":
    """Opens a model by its name: our engine, or what `engine` names as module:attribute.

    Raises PluginError, MissingExtra; the factory itself raises what opening a model raises.
    """
    if config.engine != "local":
        from teststrip.plugins import load

        factory: OpenStepper = load(config.engine, {}, "engine")
        return factory
    missing = [name for name in ("torch", "diffusers", "transformers") if not find_spec(name)]
    if missing:  # told now, not with the first job
        raise MissingExtra(f"the engine (package {missing[0]})", "engine")
    here = Settings()

    def opened(model: str, **options: Any) -> "Stepper":
        from teststrip.engine.engine import Engine

        return Engine.open(model, device=here.device, max_rows=here.max_rows, **options)

    return opened


def recommended(config: "ServiceConfig") -> dict[str, dict[str, Any]]:
    """Model -> the recipe fields that its folder names, of the models that lie on this machine.

    Read without torch, so that the first job does not have to wait for a worker's word.
    """
    from teststrip.engine.loading import default_fields, find_folder, is_here

    return {name: default_fields(find_folder(name)) for name in config.models if is_here(name)}


def _check_role(config: "ServiceConfig", role: Role) -> None:
    if role in ("web", "worker") and config.kind == "one process":
        raise ConfigError(
            f"service {role} needs a broker and Redis: set TESTSTRIP_SERVICE_BROKER and "
            "TESTSTRIP_SERVICE_REDIS; without servers use: teststrip service up"
        )
    if role == "up" and config.kind == "apart":
        raise ConfigError(
            "service up is one process without servers, and TESTSTRIP_SERVICE_BROKER is set; use "
            "teststrip service web and teststrip service worker"
        )
    if config.kind == "apart" and role in ("web", "worker") and not config.store:
        raise ConfigError(
            "web and workers share a store: set TESTSTRIP_SERVICE_STORE to s3://bucket/prefix, or "
            "to a folder that all of them reach"
        )


def _secret(home: Path, config: "ServiceConfig", role: Role) -> bytes:
    """Workers and tools name and sign nothing: they need not be told the secret."""
    is_set = config.secret is not None or config.secret_file is not None
    if role in ("worker", "admin") and not is_set:
        return secrets.token_bytes(32)
    return config.the_secret(home)


def _state(home: Path, config: "ServiceConfig") -> "JobState":
    if config.redis is None:
        from teststrip.serve.state.sqlite import SqliteState

        return SqliteState(home / PLACE / "state.db", result_ttl_s=config.result_ttl_s)
    from teststrip.serve.state.redis import RedisState

    return RedisState(config.redis, config.namespace, result_ttl_s=config.result_ttl_s)


def _queue(home: Path, config: "ServiceConfig") -> "JobQueue":
    if config.broker is None:
        from teststrip.serve.queue.memory import MemoryQueue

        # The web refuses what is above `max_queued`; a restart must take up whatever was accepted.
        return MemoryQueue(home / PLACE / "dead.json", max_length=MOST_KEPT)
    from teststrip.serve.queue.rabbit import RabbitQueue

    return RabbitQueue(config.broker, config.namespace, max_length=config.max_queued)
