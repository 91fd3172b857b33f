"""A real server: who comes in, who does not, what it keeps."""

import httpx

from teststrip.testing.track_process import TrackProcess

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=50"


def test_health_is_open_to_all_and_the_api_is_not(server: TrackProcess) -> None:
    assert httpx.get(f"{server.address}/health").text == "OK"
    assert httpx.get(f"{server.address}{SEARCH}").status_code == 401
    with server.http() as client:
        assert "Default" in [one["name"] for one in client.get(SEARCH).json()["experiments"]]


def test_a_foreign_name_is_refused(server: TrackProcess) -> None:
    with server.http() as client:
        for name in ("evil.example", "10.evil.example", "192.168.evil.example", "localhost.evil"):
            answer = client.get(SEARCH, headers={"host": name})
            assert answer.status_code == 403, name
            assert "DNS rebinding" in answer.text
        port = server.address.rpartition(":")[2]
        assert client.get(SEARCH, headers={"host": f"localhost:{port}"}).status_code == 200


def test_secrets_are_its_owners_alone(server: TrackProcess) -> None:
    folder = server.home / "track"
    assert folder.stat().st_mode & 0o077 == 0
    for file in (folder / "secrets").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert len(server.password) == 43
    assert server.password not in server.log_text()
    assert server.password not in str(server.told)


def test_killed_and_started_again_it_knows_all(tmp_path) -> None:
    with TrackProcess(tmp_path) as own:
        before, password = own.address, own.password
        with own.http() as client:
            made = client.post("/api/2.0/mlflow/experiments/create", json={"name": "owls"})
            assert made.status_code == 200
        own.restart()
        assert (own.address, own.password) == (before, password)
        assert own.told["password_file"] is None  # made before: told once
        with own.http() as client:
            found = client.get(
                "/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "owls"}
            )
            assert found.json()["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
        assert own.stop() == 0
