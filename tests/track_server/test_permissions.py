"""What a user may not: read or change another's experiment, by any of MLflow's ways in."""

from typing import Any

import httpx
import pytest

from teststrip.testing.track_process import TrackProcess

API, ARTIFACTS = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
AJAX = "/ajax-api/2.0/mlflow-artifacts/artifacts"
MARA = ("mara", "mara's long password")


@pytest.fixture(scope="module")
def theirs(server: TrackProcess) -> dict[str, str]:
    """An experiment of the admin's with a run, an image and a model."""
    with server.http() as client:
        user = {"username": MARA[0], "password": MARA[1]}
        client.post(f"{API}/users/create", json=user).raise_for_status()
        made = client.post(f"{API}/experiments/create", json={"name": "secret"}).json()
        experiment = str(made["experiment_id"])
        run = client.post(f"{API}/runs/create", json={"experiment_id": experiment}).json()
        run_id = run["run"]["info"]["run_id"]
        path = f"{experiment}/{run_id}/artifacts/a.png"
        client.put(f"{ARTIFACTS}/{path}", content=b"secret image").raise_for_status()
        client.post(f"{API}/registered-models/create", json={"name": "secret-model"})
    return {"experiment": experiment, "run": run_id, "path": path}


def question(run: str) -> dict[str, Any]:
    inner = f'mlflowGetRun(input: {{runId: "{run}"}}) {{ run {{ info {{ runId }} }} }}'
    return {"query": f"query GetRun {{ {inner} }}", "operationName": "GetRun"}


def asked(client: httpx.Client, there: dict[str, str]) -> list[tuple[str, httpx.Response]]:
    experiment, run, path = there["experiment"], there["run"], there["path"]
    metric = {"run_id": run, "key": "x", "value": 1, "timestamp": 1}
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{API}/experiments/get", {"params": {"experiment_id": experiment}}),
        ("GET", f"{API}/runs/get", {"params": {"run_id": run}}),
        ("GET", f"{ARTIFACTS}/{path}", {}),
        ("GET", f"{AJAX}/{path}", {}),
        ("PUT", f"{ARTIFACTS}/{path}", {"content": b"changed"}),
        ("PUT", f"{AJAX}/{path}", {"content": b"changed"}),
        ("DELETE", f"{ARTIFACTS}/{path}", {}),
        ("GET", "/get-artifact", {"params": {"run_uuid": run, "path": "a.png"}}),
        ("POST", f"{API}/runs/log-metric", {"json": metric}),
        ("POST", f"{API}/runs/delete", {"json": {"run_id": run}}),
        ("POST", f"{API}/experiments/delete", {"json": {"experiment_id": experiment}}),
        ("GET", f"{API}/registered-models/get", {"params": {"name": "secret-model"}}),
        ("GET", f"{API}/metrics/get-history", {"params": {"run_id": run, "metric_key": "x"}}),
        ("POST", f"{API}/users/create", {"json": {"username": "eve", "password": "e" * 12}}),
        ("PATCH", f"{API}/users/update-admin", {"json": {"username": "mara", "is_admin": True}}),
        ("POST", "/graphql", {"json": question(run)}),
    ]
    return [(f"{m} {p}", client.request(m, p, **options)) for m, p, options in ways]


def test_another_users_things_stay_theirs(server: TrackProcess, theirs) -> None:
    with server.http(login=MARA) as client:
        for what, answer in asked(client, theirs):
            if what == "POST /graphql":
                assert theirs["run"] not in answer.text, answer.text
            else:
                assert answer.status_code == 403, (what, answer.status_code, answer.text)
        found = client.post(f"{API}/runs/search", json={"experiment_ids": [theirs["experiment"]]})
        assert found.json().get("runs", []) == []
        names = client.get(f"{API}/experiments/search", params={"max_results": 50}).json()
        assert "secret" not in [one["name"] for one in names.get("experiments", [])]
    with server.http() as client:
        assert client.get(f"{ARTIFACTS}/{theirs['path']}").content == b"secret image"
        assert theirs["run"] in client.post("/graphql", json=question(theirs["run"])).text


def test_a_user_may_do_all_with_what_is_theirs(server: TrackProcess, theirs) -> None:
    with server.http(login=MARA) as client:
        made = client.post(f"{API}/experiments/create", json={"name": "mara's"}).json()
        run = client.post(f"{API}/runs/create", json={"experiment_id": made["experiment_id"]})
        path = f"{made['experiment_id']}/{run.json()['run']['info']['run_id']}/artifacts/b.png"
        assert client.put(f"{ARTIFACTS}/{path}", content=b"mine").status_code == 200
        assert client.get(f"{ARTIFACTS}/{path}").content == b"mine"
        model = client.post(f"{API}/registered-models/create", json={"name": "mara-model"})
        assert model.status_code == 200
        assert client.get("/metrics").status_code == 200
