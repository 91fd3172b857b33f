"""Caddy before the server on Cloud Run: files over 32 MiB get in, by HTTP/2 without TLS."""

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy


class Counts(BaseHTTPRequestHandler):
    """Answers a PUT with what came: bytes, host, whom the proxy says it came from."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = int(self.headers.get("Content-Length") or -1)
        got = 0
        if left < 0:  # in chunks
            while size := int(self.rfile.readline(), 16):
                got += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        while left > 0:
            part = len(self.rfile.read(min(left, 1 << 20)))
            left, got = left - part, got + part
        said = f"{got} {self.headers['Host']} {self.headers['X-Forwarded-For']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(deploy: Path, tool_path: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Counts)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (deploy / "gcp" / "Caddyfile").read_text()
    text = text.replace(":8080 {", f":{port} {{\n\tbind 127.0.0.1")
    text = text.replace("127.0.0.1:5000", f"127.0.0.1:{backend.server_port}")
    # As on Cloud Run: the file in the environment, the shell's words of server.tf.
    words = re.search(r'command += \["sh", "-c", "(.*)"\]', (deploy / "gcp/server.tf").read_text())[
        1
    ]
    words = words.replace('\\"', '"').replace("caddy run", f"{tool_path('caddy')} run")
    caddy = subprocess.Popen(
        ["sh", "-c", words],
        env=os.environ | {"CADDYFILE": text, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        while caddy.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            pytest.fail(f"caddy ended: {caddy.stderr.read().decode()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        caddy.terminate()
        caddy.wait()
        caddy.stderr.close()
        backend.shutdown()
        backend.server_close()


def test_a_large_file_gets_in_by_http_2_and_the_host_name_stays(proxy, tool, tmp_path):
    big = tmp_path / "model.safetensors"
    with big.open("wb") as file:
        file.truncate(48 << 20)
    asked = ["-sS", "-T", big, "-H", "Host: teststrip-track-1.europe-west1.run.app"]
    asked += ["-H", "X-Forwarded-For: 203.0.113.9", "-w", " %{http_version}", f"{proxy}/x"]
    # Whoever is not Google's front may not say where he comes from.
    expected = f"{48 << 20} teststrip-track-1.europe-west1.run.app 127.0.0.1"
    assert tool("curl", "--http2-prior-knowledge", *asked).stdout == f"{expected} 2"
    assert tool("curl", "--http1.1", *asked).stdout == f"{expected} 1.1"
