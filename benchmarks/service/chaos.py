"""Chaos: jobs while workers, webs and servers are killed; then every job is accounted for.

    scripts/services.sh run .venv/bin/python benchmarks/service/chaos.py --out docs/service-chaos.md
    scripts/services.sh run .venv/bin/python benchmarks/service/chaos.py --quick

Real RabbitMQ, Redis and S3 server, real `teststrip service web` and `worker` processes; the
pictures come from `teststrip.testing.instant`, so that the right bytes of each seed are known. Ends
with 1 if a job is lost, stuck, done twice, done wrong or failed without a true reason.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from chaos_jobs import ENDED, Job, judge, planned, waits
from processes import Cluster, settings

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0  # without any job ending, then the rest is stuck
EMPTY_S = 90.0  # longer than the longest pause of the queue
AT_ONCE = 8


INTRODUCTION = """\
Jobs are sent by clients that repeat what is not answered, with an Idempotency-Key each, while
workers, webs, RabbitMQ, Redis and the S3 server are killed, restarted or refuse. A supervisor
starts processes anew. Afterwards each job must have ended, and each picture that is told or lies
in the bucket is compared, byte for byte, with the one that its seed makes; a picture too few, too
many or wrong, a job that is stuck, or one that failed without a true reason is a fault. *Plain*
jobs must be done, *fault* jobs fail with the engine's reason, *poison* jobs kill each worker that
takes them up and must fail within their attempts, *cancel* jobs are cancelled within three
seconds.
"""


class Trial:
    """Submits the jobs, kills, waits, and keeps what happened."""

    def __init__(self, args: argparse.Namespace, cluster: Cluster, jobs: list[Job]) -> None:
        self.args, self.cluster, self.jobs = args, cluster, jobs
        self.rng = random.Random(args.seed)
        self.events: list[tuple[float, str, float]] = []
        self.refusals: Counter[str] = Counter()
        self.began = time.monotonic()
        self.submitted = 0
        self.lost = 0.0
        self._calm = asyncio.Event()

    async def run(self) -> None:
        """All of it; returns when every job ended or nothing ends any more."""
        killing = asyncio.create_task(self._kill_workers())
        breaking = asyncio.create_task(self._break_servers())
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            self._client = client
            places = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for job in self.jobs:
                    await places.acquire()
                    task = tasks.create_task(self._submit(job))
                    task.add_done_callback(lambda _: places.release())
                    await asyncio.sleep(self.rng.expovariate(self.args.rate))
            await breaking
            self._calm.set()
            await killing
            await self._until_ended()

    # -- the clients --------------------------------------------------------------------------

    async def _submit(self, job: Job) -> None:
        job.sent = time.time()
        headers = {"Idempotency-Key": job.key}
        answer = await self._ask("POST", "/api/jobs", job, json=job.wish, headers=headers)
        job.told = answer.json()
        self.submitted += 1
        if job.kind == "cancel":
            await asyncio.sleep(self.rng.uniform(0, 3))
            answer = await self._ask("POST", f"/api/jobs/{job.name}/cancel", job)
            if answer.json()["state"] == "cancelled":
                job.cancelled = time.time()

    async def _ask(self, method: str, path: str, job: Job, **more: Any) -> httpx.Response:
        """As any careful client: the same again until there is an answer that is one."""
        while True:
            job.tries += 1
            address = await asyncio.to_thread(self.cluster.address, self.rng)
            try:
                answer = await self._client.request(method, address + path, **more)
            except httpx.HTTPError as exc:
                self.refusals[type(exc).__name__] += 1
                await asyncio.sleep(0.3)
                continue
            if answer.status_code in (200, 202):
                return answer
            if answer.status_code not in (429, 503):
                job.faults.append(
                    f"{method} was answered {answer.status_code}: {answer.text[:200]}"
                )
                raise RuntimeError(job.faults[-1])
            self.refusals[str(answer.status_code)] += 1
            await asyncio.sleep(min(float(answer.headers.get("retry-after", 1)), 3))

    async def _until_ended(self) -> None:
        """Look at all that is open until nothing is, or nothing moves."""
        moved = time.monotonic()
        while open_jobs := [job for job in self.jobs if not job.state]:
            if time.monotonic() - moved > PATIENCE_S:
                return
            for start in range(0, len(open_jobs), AT_ONCE):
                some = open_jobs[start : start + AT_ONCE]
                await asyncio.gather(*(self._look(job) for job in some))
            if sum(not job.state for job in self.jobs) < len(open_jobs):
                moved = time.monotonic()
            await asyncio.sleep(0.5)

    async def _look(self, job: Job) -> None:
        answer = await self._ask("GET", f"/api/jobs/{job.name}", job)
        if answer.json()["state"] in ENDED:
            job.end = answer.json()

    # -- the breaking -------------------------------------------------------------------------

    async def _kill_workers(self) -> None:
        while not self._calm.is_set():
            pause = self.rng.uniform(0.5, 1.5) * self.args.kill_every
            with suppress(TimeoutError):
                await asyncio.wait_for(self._calm.wait(), pause)
                return
            worker = self.rng.choice(self.cluster.workers)
            if worker.is_up.is_set():
                worker.kill()

    async def _break_servers(self) -> None:
        plan: list[tuple[float, str, tuple[str, ...]]] = [
            (0.12, "broker restarted", ("restart", "broker")),
            (0.28, "web killed", ()),
            (0.38, f"S3 refuses for {self.args.pause:g} s", ("pause", "s3", str(self.args.pause))),
            (0.58, "Redis restarted, its data lost", ("restart", "redis", "--lose-data")),
            (0.72, "web killed", ()),
            (0.82, "broker killed and restarted", ("restart", "broker", "--kill")),
        ]
        for share, what, verb in plan:
            while self.submitted < share * len(self.jobs):
                await asyncio.sleep(0.1)
            began = time.monotonic()
            if verb:
                process = await asyncio.create_subprocess_exec(
                    ROOT / "scripts" / "services.sh", *verb, stdout=subprocess.DEVNULL
                )
                if await process.wait() != 0:
                    raise RuntimeError(f"services.sh {' '.join(verb)} failed")
            else:
                self.rng.choice(self.cluster.webs).kill()
            self.events.append((began - self.began, what, time.monotonic() - began))
            if "--lose-data" in verb:
                self.lost = time.time()


def stored(given: dict[str, object]) -> dict[str, bytes]:
    """All objects of the trial's bucket below jobs/, read with Amazon's own library."""
    import boto3
    from botocore.config import Config

    bucket, _, prefix = str(given["store"]).removeprefix("s3://").partition("/")
    client = boto3.client(
        "s3",
        endpoint_url=given["s3_endpoint"],
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=f"{prefix}/jobs/"
    ):
        for item in page.get("Contents", []):
            key = item["Key"]
            data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            found[key.removeprefix(f"{prefix}/jobs/")] = data
    return found


async def left_in_queue(given: dict[str, object]) -> tuple[int, int]:
    """(messages that wait, dead letters), asked of the broker.

    A job may be in the queue twice; the second message is let go when a worker looks at it.
    """
    from pydantic import SecretStr

    from teststrip.serve.queue.rabbit import RabbitQueue

    queue = RabbitQueue(SecretStr(str(given["broker"])), str(given["namespace"]))
    await queue.open()
    end = time.monotonic() + EMPTY_S
    try:
        while (waits := sum((await queue.depths()).values())) and time.monotonic() < end:
            await asyncio.sleep(0.5)
        return waits, len(await queue.dead_letters(1000))
    finally:
        await queue.close()


def report(
    args: argparse.Namespace, trial: Trial, counts: Counter[str], left: tuple[int, int]
) -> str:
    """The tables."""
    cluster, took = trial.cluster, time.monotonic() - trial.began
    poisoned = sum(job.kind == "poison" for job in trial.jobs)
    times = waits(trial.jobs) or [0.0]
    by_kind = Counter((job.kind, job.state or "stuck") for job in trial.jobs if job.told)
    chance = sum(j.kind in {"plain", "cancel"} and j.state == "failed" for j in trial.jobs)
    seen = {job.state for job in trial.jobs if job.told}
    states = [s for s in ("done", "failed", "cancelled", "") if s in seen]
    lines = [
        f"`scripts/services.sh run .venv/bin/python benchmarks/service/chaos.py`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores: {len(trial.jobs)} jobs at "
        f"{args.rate:g} a second, {args.webs} web and {args.workers} worker processes, RabbitMQ, "
        f"Redis and an S3 server of their own; seed {args.seed}, {took:.0f} s.",
        "",
        "| what was broken | when | for |",
        "|---|---|---|",
        *(f"| {what} | {at:.0f} s | {s:.1f} s |" for at, what, s in trial.events),
        f"| workers killed (kill -9) | about every {args.kill_every:g} s | "
        f"{sum(len(w.killed) for w in cluster.workers)} times |",
        f"| workers ended by {poisoned} poison jobs | | "
        f"{sum(w.own_deaths for w in cluster.workers)} times |",
        f"| processes that ended at their start, for a server was away | | "
        f"{sum(w.false_starts for w in [*cluster.workers, *cluster.webs])} times |",
        "",
        "| jobs | " + " | ".join(state or "stuck" for state in states) + " |",
        "|---|" + "---|" * len(states),
        *(
            f"| {kind} | "
            + " | ".join(str(by_kind[kind, state or "stuck"]) for state in states)
            + " |"
            for kind in ("plain", "cancel", "fault", "poison")
        ),
        "",
        "| checked | found |",
        "|---|---|",
        f"| accepted (202 or 200) | {counts['accepted']} of {len(trial.jobs)} |",
        f"| requests answered 503 or not at all, and sent again | {sum(trial.refusals.values())} |",
        f"| stuck or lost | {counts['stuck']} |",
        f"| failed because their workers were killed {args.attempts} times | {chance} |",
        f"| told that they were cancelled, and made all the same, for Redis lost it "
        f"| {counts['revived']} |",
        f"| other faults | {sum(n for name, n in counts.items() if name.startswith('fault'))} |",
        f"| messages left in the queue at the end | {left[0]} |",
        f"| dead letters kept for an operator | {left[1]} |",
        f"| seconds from the first try to done, p50 / p95 / most | {times[len(times) // 2]:.1f} / "
        f"{times[int(len(times) * 0.95)]:.1f} / {times[-1]:.1f} |",
    ]
    faults = [f"| {name} | {n} |" for name, n in counts.items() if name.startswith("fault")]
    return "\n".join([*lines, *faults]) + "\n"


def main() -> None:
    """Run the trial, print the tables, keep them if asked; ends with 1 for any fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--rate", type=float, default=4.0, help="jobs a second, by chance")
    parser.add_argument("--webs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kill-every", type=float, default=6.0, help="seconds, by chance")
    parser.add_argument("--pause", type=float, default=20.0, help="seconds without S3")
    parser.add_argument("--attempts", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="40 jobs, 2 workers, short pauses")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--keep", type=Path, help="folder for the logs of all processes")
    args = parser.parse_args()
    if args.quick:
        args.jobs, args.rate, args.workers, args.pause = 40, 2.0, 2, 5.0

    given = settings(
        lease_s=6,
        sweep_s=2,
        retry_base_s=0.5,
        max_attempts=args.attempts,
        drain_s=20,
        patience_s=60,
    )
    jobs = planned(args.jobs, args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with Cluster(
            folder, given, webs=args.webs, workers=args.workers, step_s=0.1, slots=8
        ) as cluster:
            trial = Trial(args, cluster, jobs)
            asyncio.run(trial.run())
            left = asyncio.run(left_in_queue(given))
        counts = judge(jobs, stored(given), trial.lost)
        table = report(args, trial, counts, left)
    print(table)
    for job in jobs:
        for fault in job.faults:
            print(f"{job.name} ({job.kind}, {job.state or 'open'}): {fault}", file=sys.stderr)
    if args.out:
        args.out.write_text(f"# The service under chaos\n\n{INTRODUCTION}\n{table}")
    is_wrong = left[0] or counts["accepted"] != len(jobs)
    sys.exit(1 if is_wrong or any(name.startswith("fault") for name in counts) else 0)


if __name__ == "__main__":
    main()
