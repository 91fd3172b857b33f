"""Other servers with the same pictures: from request to picture, one process that makes them.

`--peers PYTHON` names the python of an environment of their own:

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install pydantic numpy pillow litserve torch bentoml 'ray[serve]'
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from http_client import Connection, Pace, fastest
from processes import Cluster

APPS = Path(__file__).parent / "peers"
PATHS = f"{APPS}:{APPS.parents[2] / 'src'}"
START_S = 180.0
PEERS = {
    "LitServe": ["litserve_app.py", "{port}"],
    "BentoML": ["-m", "bentoml", "serve", "bentoml_app:Predict", "--port", "{port}"],
    "Ray Serve": ["ray_app.py", "{port}"],
}
OURS = {"prompt": "a red apple", "num_inference_steps": 1, "scheduler": "euler"}


async def table(args: argparse.Namespace, cluster: Cluster) -> list[str]:
    """Lines of the table, ours first. A peer that does not start is named as such."""
    lines = [
        "",
        "| request until picture (base64 in the answer) | alone p50 ms | p99 ms "
        "| pictures a second (p99 within 100 ms) | memory MB | accepted work outlives kill -9 |",
        "|---|---|---|---|---|---|",
    ]
    ours = [kept.process.pid for kept in [*cluster.webs, *cluster.workers]]
    address = cluster.webs[0].process.address
    path = "/v1/images/generations"
    connection = Connection(address)
    for number in range(5):  # as the others: none is measured cold
        await connection.ask("POST", path, json.dumps(OURS | {"seed": number}).encode())
    await connection.close()
    paces = await _paces(args, address, path, OURS)
    lines.append(_line("Teststrip, POST /v1/images/generations", paces, _memory_mb(ours), "yes"))
    for name, command in PEERS.items():
        try:
            with _served(args.peers, command) as (pid, port):
                address = f"http://127.0.0.1:{port}"
                await _until_up(address, pid)
                paces = await _paces(args, address, "/predict", {"prompt": "a red apple"})
                lines.append(_line(name, paces, _memory_mb(_tree(pid)), "no"))
        except (OSError, RuntimeError) as exc:
            lines.append(f"| {name} | did not start: {str(exc)[:100]} | | | | |")
    return lines


async def _paces(
    args: argparse.Namespace, address: str, path: str, body: dict[str, object]
) -> list[Pace]:
    async def ask(connection: Connection, number: int) -> bool:
        sent = json.dumps(body | {"seed": number}).encode()
        answer = await connection.ask("POST", path, sent)
        return answer.status == 200 and b"b64_json" in answer.body

    return await fastest(address, args.seconds, ask)


def _line(name: str, paces: list[Pace], memory: float, outlives: str) -> str:
    able = [pace for pace in paces if pace.at(0.99) <= 0.1 and not pace.failed]
    most = f"{max(p.per_s for p in able):.0f}" if able else f"none ({paces[0].per_s:.0f} alone)"
    alone = paces[0]
    return (
        f"| {name} | {1000 * alone.at(0.5):.1f} | {1000 * alone.at(0.99):.1f} | {most} | "
        f"{memory:.0f} | {outlives} |"
    )


@contextmanager
def _served(python: str, command: list[str]) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [python, *(part.format(port=port) for part in command)],
            cwd=APPS,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ
            | {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": PATHS},
        )
        try:
            yield process.pid, port
        finally:
            pids = _tree(process.pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pid in pids[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


async def _until_up(address: str, pid: int) -> None:
    end = time.monotonic() + START_S
    body = json.dumps({"prompt": "a red apple", "seed": 0}).encode()
    while time.monotonic() < end:
        if not Path(f"/proc/{pid}").exists() or "(zombie)" in _status(pid):
            raise RuntimeError("it ended at once")
        try:
            connection = Connection(address)
            answer = await connection.ask("POST", "/predict", body)
            await connection.close()
            if answer.status == 200:
                return
        except (OSError, EOFError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(0.5)
    raise RuntimeError(f"not up after {START_S:g} s")


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def _memory_mb(pids: list[int]) -> float:
    """Proportional memory of processes: what they share counts once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _tree(pid: int) -> list[int]:
    """A process and all below it, as they are now."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found
