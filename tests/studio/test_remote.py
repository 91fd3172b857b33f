"""A real tracking server of another machine: MLflow with its artifacts on S3, keys with it alone.

One home runs a study against it; another, empty one brings it in, shows its pictures, rates.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from teststrip.studio.app import create_app
from teststrip.study.votes import stored_votes
from teststrip.wire.bringing import Brought, bring_from_mlflow
from teststrip.wire.studio import opened

pytest.importorskip("mlflow.server")
boto3 = pytest.importorskip("boto3")
nanio = pytest.importorskip("nanio")

STUDY = """
name: far
generator: synthetic
scorers: [synthetic]
objectives: [synthetic]
prompts:
  items: [a red apple, a fox in the snow, a lighthouse, a bowl of soup]
seeds: 1
space:
  scheduler: [ddim, euler]
  steps: [10, 20]
race: {kind: none}
"""
KEYS = {"AWS_ACCESS_KEY_ID": "studio-tests", "AWS_SECRET_ACCESS_KEY": "a-long-secret-of-tests"}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
BARE = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_", "TESTSTRIP_"))}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(arguments: list[str], log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a group of its own, ended with the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            arguments, env=BARE | QUIET | more, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def until(is_so: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{process.args} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An S3 server that checks signatures, with an empty bucket; what a client of it must know."""
    place = tmp_path_factory.mktemp("s3")
    port = free_port()
    keys = {"NANIO_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"]}
    keys |= {"NANIO_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    arguments = [str(Path(sys.executable).with_name("nanio")), "serve", "--port", str(port)]
    arguments += ["--host", "127.0.0.1", "--data-dir", str(place / "data")]
    address = f"http://127.0.0.1:{port}"
    with running(arguments, place / "log", **keys) as process:
        s3 = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

        def made() -> bool:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
            s3.create_bucket(Bucket="mlflow")
            return True

        until(made, process, place / "log")
        yield KEYS | {"MLFLOW_S3_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
        s3.close()


@pytest.fixture(scope="module")
def tracking(
    bucket: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of MLflow's own server; it alone has the keys of the bucket."""
    place = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    arguments = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    arguments += ["--backend-store-uri", f"sqlite:///{place}/server.db", "--serve-artifacts"]
    arguments += ["--artifacts-destination", "s3://mlflow/studio"]
    off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def is_up() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with running(arguments, place / "log", **bucket, **off) as process:
        until(is_up, process, place / "log")
        yield address, process


def cli(home: Path, address: str, *arguments: str) -> Any:
    """`teststrip --json` of a machine without any key of the bucket."""
    done = subprocess.run(
        [sys.executable, "-m", "teststrip", *arguments, "--json"],
        env=BARE | QUIET | {"TESTSTRIP_HOME": str(home), "MLFLOW_TRACKING_URI": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ran(tracking: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the machine that ran the study."""
    home = tmp_path_factory.mktemp("ran")
    (home / "far.yaml").write_text(STUDY)
    cli(home, tracking[0], "study", "run", str(home / "far.yaml"))
    return home


@pytest.fixture(scope="module")
def viewer(tracking: tuple[str, Any], ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home that has brought the study in."""
    home = tmp_path_factory.mktemp("viewer")
    told = cli(home, tracking[0], "studio", "index", "--from-mlflow")
    assert told["brought"] == ["far"]
    assert told["faults"] == {}
    assert told["images"] > 0
    return home


@contextmanager
def machine(address: str) -> Iterator[None]:
    """This process as a machine without any key of the bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_TRACKING_URI", address)
        yield


def bring(home: Path, address: str) -> Brought:
    """What `studio index --from-mlflow` does first."""
    with machine(address):
        return bring_from_mlflow(home)


@contextmanager
def studio(home: Path, address: str) -> Iterator[tuple[Any, TestClient]]:
    """The studio of a home, asked as a browser would; it talks to the server at `address`."""
    with machine(address), opened(home, every_s=0.2) as parts:
        client = TestClient(create_app(parts), base_url="http://127.0.0.1")
        client.get("/healthz")
        client.headers["X-CSRF-Token"] = client.cookies["teststrip_csrf"]
        yield parts, client
        client.close()


def test_pictures_come_through_the_server_byte_for_byte(
    tracking: tuple[str, Any], viewer: Path, ran: Path
) -> None:
    place = viewer / "studio/remote/far"
    assert not (place / "images").exists()

    with studio(viewer, tracking[0]) as (parts, client):
        wall = client.get("/wall/cells.json?study=far&x=recipe.steps&y=recipe.scheduler").json()
        keys = [shown[1] for cell in wall["cells"] for shown in cell[10]]
        assert len(keys) == parts.index.entry("far").images > 8
        small = client.get(f"/thumbs/192/far/{keys[0]}.webp")
        whole = client.get(f"/images/far/{keys[1]}.png")

    assert small.headers["content-type"] == "image/webp"
    assert whole.headers["content-type"] == "image/png"
    made = ran / f"studies/far/images/{keys[1][:2]}/{keys[1]}.png"
    assert whole.content == made.read_bytes()
    assert len(list((place / "images").rglob("*.png"))) == 2


def rate(client: TestClient, name: str, choices: list[str]) -> None:
    """Votes of one rater, sent to the server before this returns."""
    client.post("/rate/name", data={"rater": name, "study": "far"})
    asked = {"study": "far", "held": [], "ahead": 1}
    for choice in choices:
        (pair,) = client.post("/rate/pairs", json=asked).json()["next"]
        given = asked | {"choice": choice} | {k: pair[k] for k in ("id", "left", "right")}
        assert client.post("/rate/vote", json=given).status_code == 200
    assert client.app.state.rate[0].courier.settle(60)  # type: ignore[attr-defined]


def raters(folder: Path) -> list[str]:
    return [vote["rater"] for vote in stored_votes(folder)]


def test_votes_travel_there_and_back_and_make_the_findings_new(
    tracking: tuple[str, Any], viewer: Path, ran: Path
) -> None:
    there, here = viewer / "studio/remote/far", ran / "studies/far"
    with studio(viewer, tracking[0]) as (parts, client):
        before = parts.analysis("far")
        assert parts.analysis("far") is before
        assert not before.people
        rate(client, "Ana", ["left", "right", "left"])
        after = parts.analysis("far")
        assert after.people.votes == 3

    assert bring(ran, tracking[0]).here == ("far",)
    assert raters(here) == ["Ana"] * 3
    with studio(ran, tracking[0]) as (parts, client):
        rate(client, "Bo", ["tie"])
        assert parts.analysis("far").people.votes == 4

    assert bring(viewer, tracking[0]).studies == ("far",)
    assert raters(there) == ["Ana", "Ana", "Ana", "Bo"]
    with studio(viewer, tracking[0]) as (parts, _):
        assert parts.analysis("far").people.raters == 2


def test_without_the_server_the_page_says_so_and_the_rest_works(
    tracking: tuple[str, Any], viewer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teststrip.track.reader.KEPT_BYTES", 0)  # else neighbours are there, too
    address, server = tracking
    with studio(viewer, address) as (parts, client):
        wall = client.get("/wall/cells.json?study=far&x=recipe_id").json()
        keys = [shown[1] for cell in wall["cells"] for shown in cell[10]]
        assert client.get(f"/images/far/{keys[0]}.png").status_code == 200
        rate(client, "Dee", ["left"])
        votes = parts.analysis("far").people.votes
        kept = {path.stem for path in (viewer / "studio/remote/far/images").rglob("*.png")}
        there = next(key for key in keys if key in kept)
        gone = [key for key in keys if key not in kept]
        end(server)

        began = time.monotonic()
        for key in gone:
            missed = client.get(f"/thumbs/192/far/{key}.webp")
            assert missed.status_code == 503
            assert missed.headers["x-picture"] == "store does not answer"
        assert time.monotonic() - began < 30, "each picture waited for the server by itself"
        assert client.get(f"/images/far/{there}.png").status_code == 200
        html = {"Accept": "text/html"}
        assert client.get("/wall?study=far", headers=html).status_code == 200
        assert client.get("/findings?study=far", headers=html).status_code == 200
        assert parts.analysis("far").people.votes == votes
        client.post("/rate/name", data={"rater": "Cy", "study": "far"})
        asked = {"study": "far", "held": [], "ahead": 1}
        (pair,) = client.post("/rate/pairs", json=asked).json()["next"]
        given = asked | {"choice": "left"} | {k: pair[k] for k in ("id", "left", "right")}
        assert client.post("/rate/vote", json=given).status_code == 200
        courier = client.app.state.rate[0].courier  # type: ignore[attr-defined]
        assert not courier.settle(60)
        page = client.get("/rate?study=far", headers=html).text
        assert re.search(r"MLflow cannot be reached: \d entr(y|ies) kept here", page)
