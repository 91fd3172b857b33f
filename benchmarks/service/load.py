"""Load: how much one web process takes, what a job costs beyond its picture, how much memory.

    scripts/services.sh run .venv/bin/python benchmarks/service/load.py --out docs/service-load.md
    scripts/services.sh run .venv/bin/python benchmarks/service/load.py --quick

Real RabbitMQ, Redis and S3 server; the pictures cost nothing (`teststrip.testing.instant`). Client,
web, worker and servers share the machine. `--peers PYTHON` measures LitServe, BentoML and Ray
Serve on the same pictures in the same run (`others.py` says how).
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import others
from http_client import Ask, Connection, Pace, fastest
from processes import Cluster, settings

WISH = {"prompt": "a red apple", "recipe": {"steps": 1, "scheduler": "euler"}, "seed": 1}
ENDED = {"done", "failed", "cancelled"}


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells no VmRSS")


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def submitted(connection: Connection, number: int) -> bool:
    """One job accepted?"""
    body = json.dumps(WISH | {"seed": number}).encode()
    return (await connection.ask("POST", "/api/jobs", body)).status == 202


async def until_done(connection: Connection, path: str) -> dict[str, Any]:
    """The job once it ended."""
    while True:
        job: dict[str, Any] = json.loads((await connection.ask("GET", path)).body)
        if job["state"] in ENDED:
            return job
        await asyncio.sleep(0.005)


async def overheads(address: str, count: int) -> list[float]:
    """Seconds from sending a job to its end, one job after the other, sorted."""
    connection, found = Connection(address), []
    for number in range(count):
        body = json.dumps(WISH | {"seed": number, "prompt": "overhead"}).encode()
        began = time.time()
        told = json.loads((await connection.ask("POST", "/api/jobs", body)).body)
        job = await until_done(connection, told["url"])
        if job["state"] != "done":
            raise RuntimeError(f"a job ended {job['state']}: {job['reason']}")
        found.append(job["ended"] - began)
    await connection.close()
    return sorted(found)


async def drained(address: str) -> float:
    """Seconds until no job waits or runs."""
    connection, began = Connection(address), time.perf_counter()
    for state in ("queued", "running"):
        while json.loads((await connection.ask("GET", f"/api/jobs?state={state}&limit=1")).body)[
            "jobs"
        ]:
            await asyncio.sleep(0.1)
    await connection.close()
    return time.perf_counter() - began


async def measured(args: argparse.Namespace, cluster: Cluster) -> dict[str, Any]:
    """All numbers of our own service."""
    web = cluster.webs[0].process
    address, idle_mb = web.address, memory_mb(web.pid)
    connection = Connection(address)
    cost = await overheads(address, args.count)
    told = json.loads((await connection.ask("POST", "/api/jobs", json.dumps(WISH).encode())).body)
    job = await until_done(connection, told["url"])
    tag = (await connection.ask("GET", job["url"])).headers["etag"]

    async def polled(connection: Connection, _: int) -> bool:
        return (await connection.ask("GET", job["url"])).status == 200

    async def unchanged(connection: Connection, _: int) -> bool:
        header = f"if-none-match: {tag}\r\n"
        return (await connection.ask("GET", job["url"], headers=header)).status == 304

    async def paces(ask: Ask) -> tuple[list[Pace], float]:
        before = cpu_s(web.pid)
        found = await fastest(address, args.seconds, ask)
        return found, (cpu_s(web.pid) - before) / sum(len(pace.times) for pace in found)

    polls = await paces(polled)
    same = await paces(unchanged)
    submissions = await paces(submitted)
    sent = sum(len(pace.times) for pace in submissions[0])
    behind_s = await drained(address)

    async def queued_poll(connection: Connection, _: int) -> bool:
        return (await connection.ask("GET", waiting["url"])).status == 200

    for worker in cluster.workers:
        worker.stop()
    cluster.workers.clear()
    await connection.close()  # it was idle for longer than a web keeps one open
    connection, waiting = Connection(address), {}
    for number in range(args.backlog):
        body = json.dumps(WISH | {"seed": number, "prompt": "backlog"}).encode()
        waiting = json.loads((await connection.ask("POST", "/api/jobs", body)).body)
    queued = await paces(queued_poll)
    await connection.close()
    return {
        "cost": cost,
        "submissions": submissions,
        "sent": sent,
        "behind_s": behind_s,
        "polls": polls,
        "same": same,
        "queued": queued,
        "idle_mb": idle_mb,
        "busy_mb": memory_mb(web.pid),
    }


def best(paces: list[Pace]) -> Pace:
    """The most requests a second with p99 within 0.1 s; else the first."""
    able = [pace for pace in paces if pace.at(0.99) <= 0.1 and not pace.failed]
    return max(able, key=lambda pace: pace.per_s) if able else paces[0]


def row(what: str, found: tuple[list[Pace], float]) -> str:
    """A line of the table."""
    paces, cpu = found
    pace = best(paces)
    return (
        f"| {what} | {pace.per_s:.0f} | {pace.clients} | {1000 * pace.at(0.5):.1f} | "
        f"{1000 * pace.at(0.99):.1f} | {1000 * cpu:.1f} | {sum(p.failed for p in paces)} |"
    )


def report(args: argparse.Namespace, found: dict[str, Any], beside: list[str]) -> str:
    """The tables."""
    cost = found["cost"]
    middle = statistics.median(cost)
    return "\n".join(
        [
            f"`scripts/services.sh run .venv/bin/python benchmarks/service/load.py`, "
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores that client, one web process, "
            f"{args.workers} worker, RabbitMQ, Redis and the S3 server share; {args.seconds:g} s "
            "for each number of clients (1, 2, 4, ... 128), the best with p99 within 100 ms; load "
            f"of the machine before: {args.busy:.1f}.",
            "",
            "| one web process | a second | clients | p50 ms | p99 ms | CPU ms each | failed |",
            "|---|---|---|---|---|---|---|",
            row("jobs accepted (recorded, confirmed by the broker)", found["submissions"]),
            row("polls of a job that is done", found["polls"]),
            row("polls with ETag, unchanged (304)", found["same"]),
            row(f"polls of a job behind {args.backlog} others", found["queued"]),
            "",
            "| a job beyond its picture | |",
            "|---|---|",
            f"| sent until done, alone, p50 of {len(cost)} | {1000 * middle:.0f} ms |",
            f"| p99 | {1000 * cost[int(len(cost) * 0.99)]:.0f} ms |",
            f"| {found['sent']} jobs of the table above: done after the last was accepted | "
            f"{found['behind_s']:.1f} s |",
            f"| memory of the web process, idle / after all this | {found['idle_mb']:.0f} / "
            f"{found['busy_mb']:.0f} MB |",
            *beside,
        ]
    )


def main() -> None:
    """Measure, print the tables, keep them if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="for each number of clients")
    parser.add_argument("--count", type=int, default=300, help="jobs one after the other")
    parser.add_argument("--backlog", type=int, default=2000, help="jobs that wait before the one")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--peers", metavar="PYTHON", help="python of their own, see others.py")
    parser.add_argument("--quick", action="store_true", help="1 s, 20 jobs, 100 in the backlog")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.count, args.backlog = 1.0, 20, 100
    args.busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        given = settings(max_queued=200_000, max_queued_per_key=200_000)
        with Cluster(
            Path(scratch), given, webs=1, workers=args.workers, step_s=0.0, slots=16
        ) as cluster:
            beside = asyncio.run(others.table(args, cluster)) if args.peers else []
            found = asyncio.run(measured(args, cluster))
    table = report(args, found, beside) + "\n"
    print(table)
    if args.out:
        args.out.write_text(f"# The service under load\n\n{table}")


if __name__ == "__main__":
    main()
