"""A real HTTP proxy before a real server, which loses answers, hangs or refuses when asked to."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# what happens to a request; see `Between`
What = str | int | None
_HOP = {"connection", "transfer-encoding", "content-length", "host"}
_LONG_S = 60.0


class Between:
    """Stands between client and server. `seen`: (method, path) of what came.

    `fault(method, path)` says what happens to a request: None it passes; "lose" it is done and its
    answer never comes; "cut" it never reaches the server; "hang" nobody answers until `close`; a
    number: that status, and the server is not asked. `keeps_host`: the server sees the client's own
    Host header, as signatures of S3 need it; else the server's name.
    """

    def __init__(self, address: str, *, keeps_host: bool = False) -> None:
        self.keeps_host = keeps_host
        self.seen: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], What] = lambda method, path: None
        self.to = urlsplit(address)
        self.let_go = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.between = self
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def away(self) -> None:
        """Every request is cut off."""
        self.fault = lambda method, path: "cut"

    def back(self) -> None:
        """Every request passes."""
        self.fault = lambda method, path: None

    def once(self, what: What, ending: str, method: str = "POST") -> None:
        """The first request whose path ends so has this fault; the others pass."""
        left = [what]

        def fault(verb: str, path: str) -> What:
            fits = verb == method and path.partition("?")[0].endswith(ending)
            return left.pop() if left and fits else None

        self.fault = fault

    def close(self) -> None:
        """Stop; whoever hangs is let go."""
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    between: Between

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass(self) -> None:
        between = self.server.between
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        between.seen.append((self.command, self.path))
        fault = between.fault(self.command, self.path)
        if fault == "hang":
            between.let_go.wait(_LONG_S)
        if fault in ("cut", "hang"):
            self.close_connection = True
        elif isinstance(fault, int):
            self._answer(fault, [], b"")
        else:
            self._onward(body, is_lost=fault == "lose")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - http.server's names

    def _onward(self, body: bytes, *, is_lost: bool) -> None:
        to = self.server.between.to
        server = http.client.HTTPConnection(to.hostname or "", to.port, timeout=_LONG_S)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
        host = self.headers.get("Host") if self.server.between.keeps_host else None
        try:
            server.request(self.command, self.path, body, headers | {"Host": host or to.netloc})
            answer = server.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            server.close()
        if is_lost:
            self.close_connection = True
            return
        self._answer(answer.status, answer.getheaders(), content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for key, value in headers:
            if key.lower() not in _HOP:
                self.send_header(key, value)
        length = next((v for k, v in headers if k.lower() == "content-length"), None)
        is_head = self.command == "HEAD" and length is not None
        self.send_header("Content-Length", str(length if is_head else len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
