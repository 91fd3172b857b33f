"""The studio on a socket, until somebody says stop."""

import errno
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Receive, Scope, Send

LONGEST_GOODBYE_S = 3


@dataclass(frozen=True)
class Address:
    """Where it listens and what it is called. `port` 0: any free one; `root_path`: its sub-path."""

    host: str
    port: int
    root_path: str = ""
    names: tuple[str, ...] = ()


def serve(
    home: Path,
    address: Address,
    *,
    password: str | None = None,
    browser: bool = False,
    say: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C or SIGTERM, then end cleanly; `say` is told the address once it listens.

    Raises ConfigError for an open bind without a password, an unknown host or a busy port,
    MissingExtra without the studio's packages.
    """
    try:
        import uvicorn

        from teststrip.studio.app import create_app
        from teststrip.studio.security import check_bind
        from teststrip.wire.studio import opened
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"the studio (package {exc.name})", "studio") from exc

    check_bind(address.host, password)
    listening = bound(address)
    try:
        with opened(home, warm=True) as parts:
            app = create_app(parts, hosts=(*address.names, address.host), password=password)
            config = uvicorn.Config(
                below(app, address.root_path),
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=LONGEST_GOODBYE_S,
            )
            shown = url(address, listening)
            say(shown)
            if browser:
                _open(shown)
            _run(uvicorn.Server(config), listening)
    finally:
        listening.close()


def below(app: "ASGIApp", root_path: str) -> "ASGIApp":
    """The app in a sub-path, whether or not the proxy before it takes the sub-path off."""
    if not root_path:
        return app

    async def mounted(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http":
            path = scope["path"]
            is_whole = path == root_path or path.startswith(f"{root_path}/")
            own = {"root_path": root_path, "path": path if is_whole else root_path + path}
            scope = {**scope, **own}
        await app(scope, receive, send)

    return mounted


def bound(address: Address) -> socket.socket:
    """A listening socket. Raises ConfigError where the port is busy or the host unknown."""
    try:
        family, kind, proto, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f"--host {address.host}: no such address: {exc}") from exc
    made = socket.socket(family, kind, proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(place)
        made.listen(128)
    except OSError as exc:
        made.close()
        if exc.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {address.port} is in use at {address.host}; give another (--port 8001), or "
                "--port 0 for any free one"
            ) from exc
        raise ConfigError(
            f"{address.host} port {address.port}: cannot be listened at: {exc.strerror or exc}"
        ) from exc
    return made


def url(address: Address, listening: socket.socket) -> str:
    """What to type into a browser on this machine."""
    port = listening.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(  # noqa: S104 - to show
        address.host, f"[{address.host}]" if ":" in address.host else address.host
    )
    return f"http://{host}:{port}{address.root_path}/"


def _run(server: "uvicorn.Server", listening: socket.socket) -> None:
    """SIGTERM ends it as Ctrl-C does: the index is closed, the exit code is 0."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # what was asked for
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _open(address: str) -> None:
    """In a thread: it must be served before a browser can show it."""
    import threading
    import webbrowser

    timer = threading.Timer(1.0, webbrowser.open, [address])
    timer.daemon = True
    timer.start()
