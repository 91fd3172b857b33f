"""The service's processes: what runs in each, until it is told to stop."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.lock import FolderLock
from teststrip.wire import service
from teststrip.wire.service_life import Job, StoppedEarly, opened, together
from teststrip.wire.serving import Address, below, bound, url

if TYPE_CHECKING:
    import uvicorn

    from teststrip.serve.champion import ChampionWatch
    from teststrip.serve.config import ServiceConfig
    from teststrip.serve.jobs.job import JobRecord
    from teststrip.serve.jobs.states import State
    from teststrip.serve.parts import Parts

log = logging.getLogger(__name__)
Say = Callable[[str], None]
GOODBYE_S = 10  # for requests under way when a web process ends


def serve_up(home: Path, config: "ServiceConfig", address: Address, say: Say) -> None:
    """Web, worker and sweeper in one process, until SIGTERM or Ctrl-C.

    Raises ConfigError, StudyError where another process serves this home, StorageError.
    """
    with FolderLock(home / service.PLACE, f"the service of {home}").held():
        listening, parts = _ready(home, config, address, "up")
        try:
            _run(_up(parts, listening, address, say))
        finally:
            listening.close()


def serve_web(home: Path, config: "ServiceConfig", address: Address, say: Say) -> None:
    """Web and sweeper, until SIGTERM or Ctrl-C; torch is never needed. Raises as `serve_up`."""
    listening, parts = _ready(home, config, address, "web")
    try:
        _run(_web(parts, listening, address, say))
    finally:
        listening.close()


def serve_worker(home: Path, config: "ServiceConfig", name: str, say: Say) -> None:
    """A worker, until SIGTERM or Ctrl-C: then it finishes what flies and gives back the rest."""
    parts = service.parts(home, config, "worker")
    _run(_worker(parts, name or f"{socket.gethostname()}-{os.getpid()}", say))


def _run(process: Job) -> None:
    from teststrip.serve.operate import tracing

    try:
        with suppress(StoppedEarly):
            asyncio.run(process)
    finally:
        tracing.close()  # sends what is left


def _ready(
    home: Path, config: "ServiceConfig", address: Address, role: service.Role
) -> tuple[socket.socket, "Parts"]:
    """What may be wrong is told before anything is opened."""
    from teststrip.serve.web.keys import check_bind

    parts = service.parts(home, config, role)
    check_bind(address.host, service.key_ring(config))
    return bound(address), parts


async def _up(parts: "Parts", listening: socket.socket, address: Address, say: Say) -> None:
    from teststrip.serve.operate import gpu
    from teststrip.serve.operate.sweeper import Sweeper
    from teststrip.serve.worker.worker import Worker

    stepper = service.stepper_factory(parts.config)
    async with opened(parts) as (stop, champions):
        taken = await take_up_again(parts)
        if taken:
            log.info("%d jobs were open when the service ended; they go on", taken)
        server = _server(parts, address, champions)
        worker = Worker(parts, stepper, "up", champions)
        say(url(address, listening))
        jobs = {
            "worker": worker.run(stop),
            "sweeper": Sweeper(parts, f"up-{os.getpid()}").run(stop),
            "numbers": gpu.watch(parts.metrics, stop),
        }
        await together(stop, jobs, server, listening)


async def _web(parts: "Parts", listening: socket.socket, address: Address, say: Say) -> None:
    from teststrip.serve.operate.sweeper import Sweeper

    async with opened(parts) as (stop, champions):
        who = f"{socket.gethostname()}-{os.getpid()}"
        server = _server(parts, address, champions)
        say(url(address, listening))
        await together(stop, {"sweeper": Sweeper(parts, who).run(stop)}, server, listening)


async def _worker(parts: "Parts", name: str, say: Say) -> None:
    from teststrip.serve.operate import gpu
    from teststrip.serve.worker.worker import Worker

    stepper = service.stepper_factory(parts.config)
    with _numbers_shown(parts):
        async with opened(parts) as (stop, champions):
            worker = Worker(parts, stepper, name, champions)
            say(name)
            jobs = {"worker": worker.run(stop), "numbers": gpu.watch(parts.metrics, stop)}
            await together(stop, jobs)


async def take_up_again(parts: "Parts") -> int:
    """Queue what the last process left open, oldest first; how many there were.

    A job that was running then may be what ended it: its attempts count, and too many end it.
    """
    from teststrip.serve.operate import webhooks
    from teststrip.serve.operate.dead import died
    from teststrip.serve.operate.ending import tell_ended

    found = [*await _all(parts, "running"), *await _all(parts, "queued")]
    taken = 0
    for record in sorted(found, key=lambda r: r.accepted):
        now: JobRecord | None = record
        if record.state == "running":
            if record.attempt >= parts.config.max_attempts and not record.cancel_asked:
                await webhooks.note(parts.state, record)
                ended = await parts.state.move_any(
                    record.key, record.version, "failed", reason=died(record.attempt)
                )
                if ended is not None:
                    await tell_ended(parts, ended)
                continue
            now = await parts.state.move_any(record.key, record.version, "queued")
        if now is not None:
            await parts.queue.publish(now)
            await parts.state.published(now.key)
            taken += 1
    return taken


async def _all(parts: "Parts", state: "State") -> "list[JobRecord]":
    found: list[JobRecord] = []
    page, before = await parts.state.page(None, state, "", 200)
    while page:
        found += page
        page, before = await parts.state.page(None, state, before, 200) if before else ([], "")
    return found


def _server(
    parts: "Parts", address: Address, champions: "ChampionWatch | None"
) -> "uvicorn.Server":
    import uvicorn

    from teststrip.serve.web.app import create_app

    class Server(uvicorn.Server):
        """Leaves signals to us: the worker ends first."""

        def capture_signals(self) -> Any:
            return nullcontext()

    keys = service.key_ring(parts.config)
    app = create_app(
        parts,
        champions=champions,
        keys=keys,
        hosts=_hosts(address, keys is None),
        recommended=service.recommended(parts.config),
    )
    config = uvicorn.Config(
        below(app, address.root_path),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GOODBYE_S,
    )
    return Server(config)


def _hosts(address: Address, this_machine: bool) -> tuple[str, ...]:
    """Names to answer to. With keys any, unless some are named: what a name protects (a browser
    of this machine that asks without knowing) needs a service that asks for no key."""
    if this_machine or address.names:
        return (*address.names, address.host)
    return ("*",)


@contextmanager
def _numbers_shown(parts: "Parts") -> Iterator[None]:
    """The worker's numbers on a port of their own, if one is set."""
    config = parts.config
    if config.metrics_port == 0:
        yield
        return
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(
            config.metrics_port, config.metrics_host, parts.metrics.registry
        )
    except OSError as exc:
        raise ConfigError(
            f"TESTSTRIP_SERVICE_METRICS_PORT={config.metrics_port}: cannot be listened at on "
            f"{config.metrics_host}: {exc.strerror or exc}"
        ) from exc

    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
