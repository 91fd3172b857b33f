"""Rooms that stay shut, pages of other sites, guessed passwords, numbers behind the log-in."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from teststrip.testing.track_process import TrackProcess

RUNS = "/api/2.0/mlflow/runs/search"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    "path",
    [
        "/gateway/openai/v1/chat/completions",
        "/api/3.0/mlflow/gateway/secrets/list",
        "/ajax-api/3.0/mlflow/assistant/status",
        "/ajax-api/3.0/jobs/search",
        "/ajax-api/3.0/mlflow/scorer/invoke",
        "/ajax-api/3.0/mlflow/genai/evaluate/invoke",
        "//api/3.0/mlflow/gateway/secrets/list",
    ],
)
def test_rooms_that_run_code_are_shut_for_the_admin_too(server: TrackProcess, path: str) -> None:
    with server.http() as client:
        for method in ("GET", "POST"):
            assert client.request(method, server.address + path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ARTIFACTS}?path=x"),
        ("GET", f"{ARTIFACTS}/0/x.txt"),
        ("PUT", f"{ARTIFACTS}/0/x.txt"),
        ("DELETE", f"{ARTIFACTS}/0/x.txt"),
        ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/0/x.txt"),
        ("POST", RUNS),
        ("POST", "/api/2.0/mlflow/users/create"),
        ("POST", "/v1/traces"),
        ("POST", "/graphql"),
        ("GET", "/signup"),
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/get-artifact?run_id=1&path=x"),
    ],
)
def test_nothing_is_given_to_strangers(server: TrackProcess, method: str, path: str) -> None:
    answer = httpx.request(method, server.address + path, content=b"{}")
    assert answer.status_code == 401


def test_pages_of_other_sites_change_nothing(server: TrackProcess) -> None:
    ask = {"json": {"experiment_ids": ["0"]}}
    with server.http() as client:
        assert client.post(RUNS, **ask).status_code == 200
        for foreign in (
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "cross-site", "origin": "http://localhost:8080"},
        ):
            assert client.post(RUNS, headers=foreign, **ask).status_code == 403, foreign
        same = {"sec-fetch-site": "same-origin", "origin": server.address}
        assert client.post(RUNS, headers=same, **ask).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "0/%2e%2e/%2e%2e/x",
    ],
)
def test_paths_of_artifacts_stay_inside(server: TrackProcess, path: str) -> None:
    with server.http() as client:
        url = httpx.URL(server.address).copy_with(raw_path=f"{ARTIFACTS}/{path}".encode())
        for method in ("GET", "PUT"):
            answer = client.request(method, url, content=b"x")
            assert answer.status_code in (400, 403, 404), (answer.status_code, answer.text)
            assert "root:" not in answer.text


def test_a_guesser_waits_and_those_who_know_do_not(tmp_path) -> None:
    with TrackProcess(tmp_path) as own, own.http() as client:
        assert client.post(RUNS, json={"experiment_ids": ["0"]}).status_code == 200
        for turn in range(10):
            with own.http(login=("admin", f"wrong-{turn}")) as wrong:
                # anybody could write another address there
                headers = {"x-forwarded-for": f"192.0.2.{turn}"}
                assert wrong.get("/metrics", headers=headers).status_code == 401
        for path in ("/metrics", f"{ARTIFACTS}/0/x"):
            with own.http(login=("admin", "wrong")) as wrong:
                held = wrong.get(path)
                assert held.status_code == 429
                assert 0 < int(held.headers["retry-after"]) <= 61
        # the same address, a log-in that was right before
        assert client.post(RUNS, json={"experiment_ids": ["0"]}).status_code == 200
        assert client.get(f"{own.address}/health").status_code == 200
        assert numbers(client)["teststrip_track_login_failures_total", ()] == 10


def test_numbers_are_of_few_words_and_right(tmp_path) -> None:
    trusting = {"trusted_proxies": "127.0.0.1"}
    with TrackProcess(tmp_path, settings=trusting) as own, own.http() as client:
        for name in ("a.bin", "b.bin"):
            assert client.put(f"{ARTIFACTS}/0/{name}", content=b"x" * 5000).status_code == 200
        assert len(client.get(f"{ARTIFACTS}/0/a.bin").content) == 5000
        client.post(RUNS, json={"experiment_ids": ["0"]})
        client.get("/static-files/nothing-there")
        client.get("/some/secret/path")
        found = numbers(client)
        labels = {value for (_, pairs) in found for name, value in pairs if name == "route"}
        assert labels <= {"runs", "metrics", "artifacts", "registry", "experiments", "ui", "other"}
        total = "teststrip_track_requests_total"
        put = (("method", "PUT"), ("route", "artifacts"), ("status", "200"))
        assert found[total, put] == 2
        counted = "teststrip_track_artifact_bytes_total"
        assert found[counted, (("direction", "in"),)] == 10_000
        assert found[counted, (("direction", "out"),)] == 5000
        assert found["teststrip_track_request_seconds_count", (("route", "artifacts"),)] == 3
        assert found["teststrip_track_requests_in_flight", ()] == 1
        assert found["teststrip_track_database_up", ()] == 1
        assert found["process_resident_memory_bytes", ()] < 600e6
        folders = {dict(pairs)["path"] for (name, pairs) in found if name.endswith("free_bytes")}
        for turn in range(12):  # behind a proxy that is trusted, each has an address of its own
            with own.http(login=("admin", f"wrong-{turn}")) as wrong:
                headers = {"x-forwarded-for": f"192.0.2.{turn}"}
                assert wrong.get("/metrics", headers=headers).status_code == 401
        assert folders == {str(own.home / "track"), str(own.home / "track" / "artifacts")}


def numbers(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
