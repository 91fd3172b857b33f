"""A threaded HTTP server with routes, which loses answers, breaks or limits when asked to."""

import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Limited:
    """Status 429 (or another) with these headers, such as Retry-After."""

    headers: Mapping[str, str]
    status: int = 429
    data: Any = field(default_factory=lambda: {"message": "Retry later"})


What = Limited | str | int | None
"""None: it passes; "lose": it is done and its answer never comes; "cut": it never gets in; a
status: the server is not asked; or a limit."""


@dataclass(frozen=True)
class Ask:
    """One request. Header names are in lower case; `found`: the groups of its route."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    found: tuple[str, ...] = ()

    def data(self) -> Any:
        """The JSON that was sent."""
        return json.loads(self.body) if self.body else {}


class Answered(Exception):  # noqa: N818 - an answer, good or bad
    """Ends a request with this answer. `data`: bytes, or sent as JSON; None: nothing."""

    def __init__(self, status: int, data: Any = None, headers: Mapping[str, str] = {}) -> None:
        super().__init__(status)
        self.status, self.data, self.headers = status, data, headers


Route = tuple[str, re.Pattern[str], Callable[[Ask], Any]]


class Server:
    """A forge on a free port of loopback until `close`. `seen`: what came.

    `fault(method, path)` says what happens to a request; it may wait for others, for requests are
    answered side by side. What a forge holds is read and changed under `lock`. `tls`: https.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Ask] = []
        self.fault: Callable[[str, str], What] = lambda method, path: None
        self.lock = threading.RLock()
        self.routes: list[Route] = []
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.forge = self
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.address = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()

    def calls(self, method: str, ending: str) -> list[Ask]:
        """Requests that came with this method and end of their path."""
        return [ask for ask in self.seen if ask.method == method and ask.path.endswith(ending)]

    def once(self, what: What, method: str, ending: str, times: int = 1) -> None:
        """The first requests that fit have this fault; the others pass."""
        left = [what] * times

        def fault(verb: str, path: str) -> What:
            return left.pop() if left and verb == method and path.endswith(ending) else None

        self.fault = fault

    def serve(self, method: str, pattern: str, answer: Callable[[Ask], Any]) -> None:
        """A route. `answer` returns what is sent as JSON with 200, or raises Answered."""
        self.routes.append((method, re.compile(pattern), answer))

    def answer(self, ask: Ask) -> Answered:
        """What comes of a request."""
        for method, pattern, route in self.routes:
            found = pattern.fullmatch(ask.path)
            if found and method == ask.method:
                groups = tuple(unquote(part) for part in found.groups())
                whole = Ask(ask.method, ask.path, ask.query, ask.headers, ask.body, groups)
                try:
                    with self.lock:
                        return Answered(200, route(whole))
                except Answered as answer:
                    return answer
        return Answered(404, {"message": "404 Not Found"})


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    forge: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def _any(self) -> None:
        forge, parts = self.server.forge, urlsplit(self.path)
        ask = Ask(
            self.command,
            parts.path,
            {name: values[-1] for name, values in parse_qs(parts.query).items()},
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        forge.seen.append(ask)
        fault = forge.fault(ask.method, ask.path)
        if fault == "cut":
            self.close_connection = True
        elif isinstance(fault, int):
            self._send(Answered(fault, {"message": f"{fault} on demand"}))
        elif isinstance(fault, Limited):
            self._send(Answered(fault.status, fault.data, fault.headers))
        else:
            answer = forge.answer(ask)
            if fault == "lose":
                self.close_connection = True
            else:
                self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - http.server's names

    def _send(self, answer: Answered) -> None:
        is_raw = isinstance(answer.data, bytes)
        content = answer.data if is_raw else json.dumps(answer.data).encode()
        content = b"" if answer.data is None else content
        self.send_response(answer.status)
        kind = "image/png" if is_raw else "application/json"
        for name, value in {"Content-Type": kind, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def page(ask: Ask, entries: list[Any], usual: int) -> tuple[list[Any], int, int]:
    """One page of a list, its number, and the next one's (0: none). At most 100 entries."""
    size = max(1, min(int(ask.query.get("per_page", usual)), 100))
    number = int(ask.query.get("page", 1))
    more = number + 1 if number * size < len(entries) else 0
    return entries[(number - 1) * size : number * size], number, more
