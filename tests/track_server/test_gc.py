"""What was deleted goes for good, with its artifacts; what a registered model is made of stays."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from teststrip.errors import ConfigError
from teststrip.testing.track_process import TrackProcess
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.gc import age_s, find
from teststrip.track.server.places import places as placed

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
API = "/api/2.0/mlflow"


def verb(env: Mapping[str, str], *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "teststrip", "track", *words, "--json"],
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def ask(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(f"{API}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run_with_image(client: httpx.Client, experiment: str) -> str:
    run = ask(client, "runs/create", experiment_id=experiment)["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    answer = client.put(f"{ARTIFACTS}/{path}/images/a.png", content=b"x" * 1000)
    assert answer.status_code == 200, answer.text
    return str(run["run_id"])


def files_of(client: httpx.Client, experiment: str, run: str) -> int:
    answer = client.get(ARTIFACTS, params={"path": f"{experiment}/{run}/artifacts/images"})
    return len(answer.json().get("files", []))


def collects(own: TrackProcess) -> None:
    """The whole law, on whatever store `own` has."""
    with own.http() as client:
        keep = ask(client, "experiments/create", name="owls")["experiment_id"]
        drop = ask(client, "experiments/create", name="mice")["experiment_id"]
        stays, goes, pinned = (run_with_image(client, keep) for _ in range(3))
        inner = run_with_image(client, drop)
        ask(client, "registered-models/create", name="champion")
        source = f"mlflow-artifacts:/{keep}/{pinned}/artifacts/images"
        ask(client, "model-versions/create", name="champion", source=source, run_id=pinned)
        ask(client, "runs/log-metric", run_id=goes, key="loss", value=1, timestamp=1)
        for run in (goes, pinned):
            ask(client, "runs/delete", run_id=run)
        ask(client, "experiments/delete", experiment_id=drop)

        shown = verb(own.env, "gc", "--older-than", "0s")
        assert not shown["removed"]
        assert {(one["kind"], one["id"]) for one in shown["items"]} == {
            ("run", goes),
            ("run", pinned),
            ("run", inner),
            ("experiment", drop),
        }
        assert (shown["files"], shown["bytes"]) == (2, 2000)
        assert [files_of(client, keep, run) for run in (stays, goes, pinned)] == [1, 1, 1]

        kept = {one["id"]: one["kept"] for one in shown["items"] if one["kept"]}
        assert list(kept) == [pinned]
        assert "registered model" in kept[pinned]

        verb(own.env, "gc", "--older-than", "0s", "--yes")
        assert [files_of(client, keep, run) for run in (stays, goes, pinned)] == [1, 0, 1]
        assert files_of(client, drop, inner) == 0
        assert client.get(f"{API}/runs/get", params={"run_id": goes}).status_code == 404
        assert client.get(f"{API}/runs/get", params={"run_id": pinned}).status_code == 200
        gone = client.get(f"{API}/experiments/get", params={"experiment_id": drop})
        assert gone.status_code == 404


def test_a_folder_and_sqlite(tmp_path) -> None:
    with TrackProcess(tmp_path) as own:
        collects(own)


def test_what_is_younger_stays(server: TrackProcess) -> None:
    with server.http() as client:
        run = run_with_image(client, "0")
        ask(client, "runs/delete", run_id=run)
    places, config = placed(server.home, ServerConfig()), ServerConfig()
    assert run not in {one.id for one in find(places, config, age_s("30d"))}
    assert run in {one.id for one in find(places, config, age_s("0s"))}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("1d12h", 129_600), ("90m", 5400), ("0s", 0)]
)
def test_ages(text: str, seconds: float) -> None:
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30 days"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(ConfigError, match="30d"):
        age_s(text)
