"""The service's processes: what runs in each, until it is told to stop."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import TeststripError
from teststrip.lock import FolderLock
from teststrip.wire import service
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
Job = Coroutine[Any, Any, Any]
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

    champions = await asyncio.to_thread(_champions, parts)  # it looks once before it returns
    worker = _made_worker(parts, "up", champions)
    stop = _stop_on_signals()
    await parts.open()
    try:
        taken = await take_up_again(parts)
        if taken:
            log.info("%d jobs were open when the service ended; they go on", taken)
        server = _server(parts, address, champions)
        say(url(address, listening))
        await _together(
            stop,
            {
                "worker": worker.run(stop),
                "sweeper": Sweeper(parts, f"up-{os.getpid()}").run(stop),
                "numbers": gpu.watch(parts.metrics, stop),
            },
            server=server,
            listening=listening,
        )
    finally:
        await parts.close()
        _close(champions)


async def _web(parts: "Parts", listening: socket.socket, address: Address, say: Say) -> None:
    from teststrip.serve.operate.sweeper import Sweeper

    champions = await asyncio.to_thread(_champions, parts)  # it looks once before it returns
    stop = _stop_on_signals()
    await parts.open()
    try:
        who = f"{socket.gethostname()}-{os.getpid()}"
        server = _server(parts, address, champions)
        say(url(address, listening))
        await _together(
            stop, {"sweeper": Sweeper(parts, who).run(stop)}, server=server, listening=listening
        )
    finally:
        await parts.close()
        _close(champions)


async def _worker(parts: "Parts", name: str, say: Say) -> None:
    from teststrip.serve.operate import gpu

    champions = await asyncio.to_thread(_champions, parts)  # it looks once before it returns
    worker = _made_worker(parts, name, champions)
    stop = _stop_on_signals()
    shown = _show_numbers(parts)
    await parts.open()
    try:
        say(name)
        await _together(
            stop, {"worker": worker.run(stop), "numbers": gpu.watch(parts.metrics, stop)}
        )
    finally:
        await parts.close()
        _close(champions)
        shown()


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
            from contextlib import nullcontext

            return nullcontext()

    keys = service.key_ring(parts.config)
    app = create_app(parts, champions=champions, keys=keys, hosts=_hosts(address, keys is None))
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


def _made_worker(parts: "Parts", name: str, champions: "ChampionWatch | None") -> Any:
    from teststrip.serve.worker.worker import Worker

    return Worker(parts, service.stepper_factory(parts.config), name, champions)


def _champions(parts: "Parts") -> "ChampionWatch | None":
    if not parts.config.champion:
        return None
    from teststrip.serve.champion import ChampionWatch

    return ChampionWatch(parts.config, parts.home)


def _close(champions: "ChampionWatch | None") -> None:
    if champions is not None:
        champions.close()


def _show_numbers(parts: "Parts") -> Callable[[], None]:
    """The worker's numbers on a port of their own, if one is set; gives what ends it."""
    config = parts.config
    if config.metrics_port == 0:
        return lambda: None
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(
            config.metrics_port, config.metrics_host, parts.metrics.registry
        )
    except OSError as exc:
        from teststrip.errors import ConfigError

        raise ConfigError(
            f"TESTSTRIP_SERVICE_METRICS_PORT={config.metrics_port}: cannot be listened at on "
            f"{config.metrics_host}: {exc.strerror or exc}"
        ) from exc

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


def _stop_on_signals() -> asyncio.Event:
    """SIGTERM and Ctrl-C ask to stop; asked a second time, the process ends at once.

    Nothing is lost then either: what was accepted is on disk or in the broker.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(which: signal.Signals) -> None:
        if stop.is_set():
            log.warning("ended at once; what was not finished goes on at the next start")
            os._exit(0 if which == signal.SIGTERM else 130)
        log.info("stopping: what is under way is finished; once more ends at once")
        stop.set()

    for which in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(which, asked, which)
    return stop


async def _together(
    stop: asyncio.Event,
    jobs: dict[str, Job],
    server: "uvicorn.Server | None" = None,
    listening: socket.socket | None = None,
) -> None:
    """Run all until `stop`; the web answers until the others are done.

    Where one of them fails, all end and its fault is raised: half a service helps nobody.
    """
    tasks = {asyncio.create_task(job, name=name) for name, job in jobs.items()}
    web = None
    if server is not None:
        sockets = [listening] if listening is not None else None
        web = asyncio.create_task(server.serve(sockets=sockets), name="web")
    every = tasks | ({web} if web else set())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({asked, *every}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await asyncio.wait({asked, *tasks})
    if server is not None and web is not None:
        server.should_exit = True
        await asyncio.wait({web})
    for task in every:
        with suppress(asyncio.CancelledError):
            fault = task.exception()
            if fault is not None:
                if not isinstance(fault, TeststripError):
                    log.error("%s failed", task.get_name(), exc_info=fault)
                raise fault
