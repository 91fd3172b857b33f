"""What a study does there: a run, pictures, a large file, a champion; and all of it away again."""

import hashlib
import os
import struct
import tempfile
import time
import zlib
from typing import IO
from urllib.parse import quote

from teststrip.track.doctor.finding import Finding, failed, passed, skipped, warned
from teststrip.track.doctor.visit import Visit
from teststrip.track.rest import API3, NOBODY, Refused, Unreachable, refused

MEGABYTE = 1_000_000
PROXIED = "/api/2.0/mlflow-artifacts/artifacts"
SMALL, USUAL = 64, 1024  # px of a side; noise, so 12 kB and 3.1 MB
MEND_LIMIT = (
    "raise the limit of what stands before the server (nginx: client_max_body_size 0; Cloud Run "
    "takes 32 MiB over HTTP/1; a CDN has one of its own)"
)


def run(visit: Visit) -> Finding:
    """May it write a run: parameters, metrics, tags?"""
    rest = visit.rest
    if visit.experiment:
        found = rest.api("GET", "experiments/get-by-name", experiment_name=visit.experiment)
        visit.experiment_id = str(found["experiment"]["experiment_id"])
    else:
        made = rest.api("POST", "experiments/create", name=visit.mark)
        visit.experiment_id = str(made["experiment_id"])
        visit.undo_later(f"experiment {visit.mark}", lambda: _delete_experiment(visit))
    tags = [{"key": "teststrip.kind", "value": "doctor"}]
    now = int(time.time() * 1000)
    opened = rest.api(
        "POST",
        "runs/create",
        experiment_id=visit.experiment_id,
        start_time=now,
        run_name=visit.mark,
        tags=tags,
    )["run"]["info"]
    visit.run_id, visit.artifact_uri = str(opened["run_id"]), str(opened["artifact_uri"])
    visit.undo_later(
        f"run {visit.run_id}", lambda: rest.api("POST", "runs/delete", run_id=visit.run_id)
    )
    metric = {"key": "score/mean", "value": 0.25, "timestamp": now, "step": 0}
    params = [{"key": "prompt", "value": "ein Fuchs, 狐"}]
    rest.api("POST", "runs/log-batch", run_id=visit.run_id, metrics=[metric], params=params)
    data = rest.api("GET", "runs/get", run_id=visit.run_id)["run"]["data"]
    if data.get("params") != params or data["metrics"][0]["value"] != 0.25:
        return failed("a run comes back other than it was sent", "does a proxy change answers?")
    rest.api("POST", "runs/update", run_id=visit.run_id, status="FINISHED", end_time=now)
    return passed(f"a run was written and read in experiment {visit.experiment or visit.mark}")


def proxied(visit: Visit) -> Finding:
    """Do pictures pass through the server, so that clients need no cloud keys?"""
    scheme = visit.artifact_uri.partition(":")[0]
    if scheme == "mlflow-artifacts":
        return passed("artifacts pass through the server: clients need no cloud keys")
    mend = (
        "a new experiment on a server with --artifacts-destination (track serve has it) proxies "
        "them; the place of an old experiment cannot be changed"
    )
    return failed(f"artifacts go from every client to {scheme}:// directly", mend)


def images(visit: Visit) -> Finding:
    """Do pictures come back byte for byte, one of a usual size too?"""
    started = time.monotonic()
    for name, side in (("klein & gut 100%.png", SMALL), ("usual.png", USUAL)):
        sent = _noise_png(side)
        try:
            _put(visit, name, sent)
        except Unreachable as exc:
            return failed(f"a picture of {len(sent) / MEGABYTE:.1f} MB: {exc}", MEND_LIMIT)
        except Refused as exc:
            is_limit = exc.status == 413
            mend = MEND_LIMIT if is_limit else "may this user write, and the server into its store?"
            return failed(f"a picture of {len(sent) / MEGABYTE:.1f} MB: {exc}", mend)
        answer = visit.rest.ask("GET", _place(visit, name))
        if answer.status_code != 200:
            raise refused(answer, f"reading {name}")
        if answer.content != sent:
            what = f"{name}: {len(sent)} bytes went, {len(answer.content)} others came back"
            return failed(what, "a proxy changes pictures (compression, scanning): let it not")
    if visit.asks_login:
        open_to = visit.rest.ask("GET", _place(visit, "usual.png"), login=NOBODY)
        if open_to.status_code == 200:
            return failed("strangers can read pictures", "a proxy serves them without asking?")
    return passed(f"byte for byte, up and down, in {time.monotonic() - started:.1f} s")


def large(visit: Visit) -> Finding:
    """How large may a file be? Doubles until the asked size, or until somebody refuses."""
    if not visit.large_mb:
        return skipped("not asked for (--large 64)")
    fits, seconds, digest = 0, 0.0, ""
    for size in _sizes(visit.large_mb):
        with tempfile.TemporaryFile() as file:
            digest_now = _fill(file, size)
            started = time.monotonic()
            try:
                _put(visit, "large.bin", file)
            except (Unreachable, Refused) as exc:
                return failed(f"{fits} MB pass, {size} MB do not: {exc}", MEND_LIMIT)
            fits, seconds, digest = size, time.monotonic() - started, digest_now
    came = hashlib.sha256()
    answer = visit.rest.ask("GET", _place(visit, "large.bin"), stream=True)
    for part in answer.iter_content(2**20):
        came.update(part)
    if answer.status_code != 200 or came.hexdigest() != digest:
        return failed(f"{fits} MB went up and others came down", "does a proxy cut answers?")
    return passed(f"{fits} MB up and down, up with {fits / seconds:.0f} MB/s")


def registry(visit: Visit) -> Finding:
    """Can it register a champion and find it by its alias?"""
    rest, name = visit.rest, visit.mark
    rest.api("POST", "registered-models/create", name=name)
    visit.undo_later(
        f"model {name}", lambda: rest.api("DELETE", "registered-models/delete", name=name)
    )
    source = f"{visit.artifact_uri}/usual.png"
    made = rest.api("POST", "model-versions/create", name=name, source=source, run_id=visit.run_id)
    number = str(made["model_version"]["version"])
    rest.api("POST", "registered-models/alias", name=name, alias="champion", version=number)
    found = rest.api("GET", "registered-models/alias", name=name, alias="champion")
    if str(found["model_version"]["version"]) != number:
        return failed("an alias leads to another version", "is a read replica behind?")
    return passed("a version was registered and found by its alias")


def tidy(visit: Visit) -> Finding:
    """Is everything that the doctor made gone again?"""
    left = visit.undo()
    if left:
        return warned(f"left behind: {'; '.join(left)}", "remove it by hand")
    return passed("nothing is left (deleted runs go for good with track gc)")


def _place(visit: Visit, name: str) -> str:
    folder = visit.artifact_uri.partition(":/")[2].strip("/")
    return f"{PROXIED}/{quote(folder)}/doctor/{quote(name)}"


def _put(visit: Visit, name: str, data: bytes | IO[bytes]) -> None:
    place = _place(visit, name)
    if not any(what == name for what, _ in visit.left):
        visit.undo_later(name, lambda: _delete(visit, place))
    answer = visit.rest.ask(
        "PUT", place, data=data, headers={"Content-Type": "application/octet-stream"}
    )
    if answer.status_code != 200:
        raise refused(answer, f"writing {name}")


def _delete_experiment(visit: Visit) -> None:
    visit.rest.api("POST", "experiments/delete", experiment_id=visit.experiment_id)
    if visit.username:  # whoever makes one has a right on it, which MLflow would keep for ever
        visit.rest.api(
            "POST",
            "users/permissions/revoke",
            root=API3,
            username=visit.username,
            resource_type="experiment",
            resource_id=visit.experiment_id,
        )


def _delete(visit: Visit, place: str) -> None:
    answer = visit.rest.ask("DELETE", place)
    if answer.status_code not in (200, 204, 404):
        raise refused(answer, "deleting")


def _sizes(most_mb: int) -> list[int]:
    sizes = [1]
    while sizes[-1] < most_mb:
        sizes.append(min(2 * sizes[-1], most_mb))
    return sizes


def _fill(file: IO[bytes], megabytes: int) -> str:
    digest = hashlib.sha256()
    for _ in range(megabytes):
        part = os.urandom(MEGABYTE)
        digest.update(part)
        file.write(part)
    file.seek(0)
    return digest.hexdigest()


def _noise_png(side: int) -> bytes:
    """A picture that nothing can make smaller, RGB, side x side px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(rows, 0)),
            chunk(b"IEND", b""),
        )
    )
