"""The jobs of the chaos trial: what is asked for, and what must have become of it."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from teststrip import Block, Recipe, Request
from teststrip.testing.instant import InstantStepper

Kind = Literal["plain", "fault", "poison", "cancel"]
ENDED = {"done", "failed", "cancelled", "expired"}


@dataclass
class Job:
    """One job: the wish, what the service said, how it ended."""

    kind: Kind
    wish: dict[str, Any]
    key: str  # Idempotency-Key
    tries: int = 0
    told: dict[str, Any] | None = None  # the answer that accepted it
    end: dict[str, Any] | None = None  # the last answer
    sent: float = 0.0
    cancelled: float | None = None  # when an answer said that it is, seconds since 1970
    faults: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The signed name."""
        return str(self.told["id"]) if self.told else ""

    @property
    def state(self) -> str:
        """How it ended; "" while it has not."""
        return str(self.end["state"]) if self.end else ""

    def pictures(self) -> list[bytes]:
        """The PNGs that its wish asks for, made here: byte for byte."""
        stepper = InstantStepper()
        recipe = Recipe.model_validate(self.told["recipe"]) if self.told else Recipe()
        made: dict[int, bytes] = {}
        for seed in self.wish["seeds"]:
            block = Block(prompt=self.wish["prompt"], seed=seed)
            stepper.add_request(Request(recipe=recipe, block=block))
        while not stepper.is_idle:
            for outcome in stepper.step():
                made[outcome.request.block.seed] = outcome.png
        return [made[seed] for seed in self.wish["seeds"]]


def planned(count: int, seed: int) -> list[Job]:
    """Jobs of all kinds, mixed: 1 to 3 pictures, 4 to 16 steps, all priorities."""
    rng = random.Random(seed)
    kinds: list[Kind] = ["poison"] * max(count // 150, 1) + ["fault"] * (count // 50)
    kinds += ["cancel"] * (count // 25)
    kinds += ["plain"] * (count - len(kinds))
    rng.shuffle(kinds)
    jobs = []
    for number, kind in enumerate(kinds):
        word = {"fault": " FAULT", "poison": " POISON"}.get(kind, "")
        wish = {
            "prompt": f"mug number {number}{word}",
            "recipe": {"steps": rng.randint(4, 16), "scheduler": rng.choice(["euler", "ddim"])},
            "seeds": rng.sample(range(2**32), rng.randint(1, 3)),
            "priority": rng.choice(["people", "api", "api", "sweep"]),
        }
        jobs.append(Job(kind, wish, key=f"chaos-{seed}-{number}"))
    return jobs


def judge(jobs: list[Job], objects: dict[str, bytes], lost: float = 0.0) -> Counter[str]:
    """Note every fault at its job; `objects`: all that lies in the store, by key below jobs/.

    `lost`: when Redis lost its data. Counts outcomes and faults by their words.
    """
    counts: Counter[str] = Counter()
    allowed = set()
    for job in jobs:
        if job.told is None:
            continue
        counts["accepted"] += 1
        key = job.name[:32]
        allowed |= {f"{key}/{k}.png" for k in range(len(job.wish["seeds"]))} | {f"{key}/job.json"}
        counts[job.state or "stuck"] += 1
        if job.cancelled is not None and job.state == "done":
            # Known by Redis alone, until a worker finds its message.
            is_lost = job.cancelled < lost
            counts["revived" if is_lost else "fault: told as cancelled, and made"] += 1
        for fault in _faults(job, objects, key):
            job.faults.append(fault)
            counts[f"fault: {fault}"] += 1
    stray = set(objects) - allowed
    if stray:
        counts["fault: objects of no accepted job"] = len(stray)
    return counts


def _faults(job: Job, objects: dict[str, bytes], key: str) -> list[str]:
    end = job.end or {}
    if not job.state:
        return ["stuck"]
    found = []
    may_be = {"plain": {"done"}, "fault": {"failed"}, "poison": {"failed"}}
    died = "died" in str(end.get("reason"))
    # Killed by chance with all its workers, one after the other: told, and true.
    is_bad_luck = job.state == "failed" and died and job.kind in {"plain", "cancel"}
    if job.state not in may_be.get(job.kind, {"done", "cancelled"}) and not is_bad_luck:
        found.append(f"a {job.kind} job ended {job.state}")
    if job.state == "failed" and not end.get("reason"):
        found.append("failed without a reason")
    if job.kind == "poison" and job.state == "failed" and not died:
        found.append("a poison job failed for another reason")
    if f"{key}/job.json" not in objects:
        found.append("ended without its last record in the store")
    there = {k: objects.get(f"{key}/{k}.png") for k in range(len(job.wish["seeds"]))}
    if job.state == "done":
        right = job.pictures()
        told = {image["index"]: image for image in end["images"]}
        if sorted(told) != sorted(there):
            found.append("done, and not all pictures are told")
        for k, data in there.items():
            if data is None:
                found.append("done, and a picture is missing")
            elif data != right[k]:
                found.append("a picture with other bytes than its seed's")
    elif job.kind in {"plain", "cancel"}:
        right = job.pictures()
        if any(data is not None and data != right[k] for k, data in there.items()):
            found.append("a picture with other bytes than its seed's")
    return found


def waits(jobs: list[Job]) -> list[float]:
    """Seconds from the client's first try to the end, of jobs that ended done, sorted."""
    return sorted(
        float(job.end["ended"]) - job.sent
        for job in jobs
        if job.end and job.state == "done" and job.end.get("ended")
    )
