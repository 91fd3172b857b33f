"""What must not work: wrong log-ins, names, certificates; others' experiments; path tricks."""

import http.client
import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from vm_client import Client
from vm_machine import NAME, Machine

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
SECRET = b"a picture that nobody else may see"
Say = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Owned:
    """What a user made: an experiment, a run in it, a file of the run."""

    experiment: str
    run: str

    @property
    def file(self) -> str:
        """The file's path at the server's artifact routes."""
        return f"{self.experiment}/{self.run}/artifacts/secret.png"


def strangers(machine: Machine, say: Say) -> None:
    """Log-ins, names and the room of the numbers."""
    search = f"{API}/experiments/search?max_results=1"
    admin = ("admin", machine.admin_password)
    with machine.http(admin) as client:
        say("the right password", "200", _status(client.get(search)))
        say("numbers (/metrics) from outside, logged in", "404", _status(client.get("/metrics")))
        wrong = {"host": "evil.example"}
        say("another name in the Host header", "421", _status(client.get(search, headers=wrong)))
        other = {"origin": "https://evil.example", "content-type": "application/json"}
        foreign = client.post(f"{API}/experiments/create", json={"name": "x"}, headers=other)
        say("a foreign page (Origin) writes with somebody's log-in", "403", _status(foreign))
    for what, login in (("no log-in", None), ("a wrong password", ("admin", "wrong" * 4))):
        with machine.http(login) as client:
            say(what, "401", _status(client.get(search)))
            say(f"{what}, artifacts", "401", _status(client.get(f"{FILES}/0/x")))
            graph = client.post("/graphql", json={"query": "{__typename}"})
            say(f"{what}, GraphQL", "401", _status(graph))
    with httpx.Client(base_url=machine.inside, auth=admin, trust_env=False) as client:
        wrong = {"host": "evil.example"}
        say(
            "the same Host header, past Caddy (DNS rebinding)",
            "403",
            _status(client.get(search, headers=wrong)),
        )
    plain = httpx.get(
        f"http://127.0.0.1:{machine.http_port}/", headers={"host": NAME}, trust_env=False
    )
    say("plain HTTP", "308 to https", f"{plain.status_code} to {plain.headers['location'][:5]}")
    say("addresses that PostgreSQL listens at", "its socket alone", _postgres_listens(machine))


def certificates(machine: Machine, client: Client, say: Say) -> None:
    """A certificate that ended yesterday, one of nobody that the client knows, and the good one."""
    ask = "from mlflow import MlflowClient; print(len(MlflowClient().search_experiments()))"
    try:
        with machine.http(verify=ssl.create_default_context()) as stranger:
            seen = _status(stranger.get("/health"))
    except httpx.ConnectError as exc:
        seen = "refused: unable to get local issuer" if "local issuer" in str(exc) else str(exc)
    say("an authority that the client does not know", "refused: unable to get local issuer", seen)
    over = machine.authority.certificate(NAME, is_over=True)
    machine.install(certificate=over)
    machine.systemctl("restart", "teststrip-caddy")
    with machine.http(verify=False) as anybody:
        _await(anybody)
    said = client.python(ask, rc=1)
    seen = "refused: expired" if "certificate has expired" in said else said[-200:]
    say("MLflow's client, the server's certificate ended yesterday", "refused: expired", seen)
    said = client.command("track", "doctor", rc=1)
    seen = "names it" if "expired" in said.lower() or "ended" in said.lower() else said[-300:]
    say("`track doctor`, the same", "names it", seen)
    said = machine.vm_tool("teststrip-vm", "check", rc=1)
    seen = "names it" if "the certificate ends in" in said else said
    say("`teststrip-vm check`, the same", "names it", seen)
    machine.install(certificate=machine.authority.certificate(NAME))
    machine.systemctl("restart", "teststrip-caddy")
    machine.await_health()
    say("the same client, a good certificate again", "answers", _first_word(client.python(ask)))


def other_people(machine: Machine, ann: tuple[str, str], ben: tuple[str, str], say: Say) -> None:
    """Ann's experiment, as Ben sees it: reading, writing, searching, artifacts, tricks."""
    with machine.http(ann) as client:
        hers = _make(client, "of ann")
        say("ann reads her file", "her bytes", _bytes(client.get(f"{FILES}/{hers.file}")))
    with machine.http(ben) as client:
        his = _make(client, "of ben")
        asked = {
            "read the experiment": client.get(
                f"{API}/experiments/get", params={"experiment_id": hers.experiment}
            ),
            "read a run": client.get(f"{API}/runs/get", params={"run_id": hers.run}),
            "read a metric": client.get(
                f"{API}/metrics/get-history", params={"run_id": hers.run, "metric_key": "loss"}
            ),
            "list its files": client.get(f"{API}/artifacts/list", params={"run_id": hers.run}),
            "write a metric": client.post(
                f"{API}/runs/log-metric",
                json={"run_id": hers.run, "key": "loss", "value": 0, "timestamp": 1, "step": 2},
            ),
            "make a run": client.post(
                f"{API}/runs/create", json={"experiment_id": hers.experiment}
            ),
            "delete a run": client.post(f"{API}/runs/delete", json={"run_id": hers.run}),
            "delete the experiment": client.post(
                f"{API}/experiments/delete", json={"experiment_id": hers.experiment}
            ),
            "read a file": client.get(f"{FILES}/{hers.file}"),
            "overwrite a file": client.put(f"{FILES}/{hers.file}", content=b"mine"),
            "delete a file": client.delete(f"{FILES}/{hers.file}"),
            "read a file as the web page does": client.get(
                "/get-artifact", params={"path": "secret.png", "run_uuid": hers.run}
            ),
            "give himself the right": client.post(
                f"{API}/experiments/permissions/create",
                json={
                    "experiment_id": hers.experiment,
                    "username": ben[0],
                    "permission": "MANAGE",
                },
            ),
            "make a user": client.post(
                f"{API}/users/create", json={"username": "eve", "password": "x" * 16}
            ),
        }
        for what, answer in asked.items():
            say(f"ben: {what} of ann's", "refused", _refused(answer))
        found = client.post(
            f"{API}/runs/search", json={"experiment_ids": [hers.experiment], "max_results": 10}
        )
        runs = found.json().get("runs", []) if found.status_code == 200 else []
        say("ben: runs of ann's that a search gives", "0", str(len(runs)))
        named = client.get(f"{API}/experiments/search", params={"max_results": 100}).json()
        names = [one["name"] for one in named.get("experiments", [])]
        say("ben: ann's experiment in his list", "no", "yes" if "of ann" in names else "no")
    for what, path in tricks(hers, his):
        _, body = _raw(machine, ben, path)
        say(f"ben: GET {what}", "nothing of it", _leaked(body, hers))
    for _, path in tricks(hers, his):
        _raw(machine, ben, path, method="PUT", body=b"overwritten")
        _raw(machine, ben, path, method="DELETE")
    with machine.http(ann) as client:
        say(
            "ann's file, after he sent PUT and DELETE to all of these",
            "her bytes",
            _bytes(client.get(f"{FILES}/{hers.file}")),
        )
        run = client.get(f"{API}/runs/get", params={"run_id": hers.run}).json()["run"]
        loss = [m["value"] for m in run["data"].get("metrics", [])]
        say("ann's run", "active, loss 1", f"{_stage(run)}, loss {loss[0]:.0f}")


def tricks(hers: Owned, his: Owned) -> list[tuple[str, str]]:
    """Paths that begin in his experiment or in none, and mean a file of hers or of the machine."""
    up = f"{his.experiment}/{his.run}/artifacts"
    double = quote(quote("../", safe=""), safe="")
    return [
        ("out of his run by ../", f"{FILES}/{up}/../../../{hers.file}"),
        ("out of his experiment by ../", f"{FILES}/{his.experiment}/../{hers.file}"),
        ("the same as %2e%2e", f"{FILES}/{his.experiment}/%2e%2e/{hers.file}"),
        ("the same as ..%2f", f"{FILES}/{his.experiment}/..%2f{hers.file}"),
        ("the same, encoded twice", f"{FILES}/{his.experiment}/{double}{hers.file}"),
        ("the same with a backslash", f"{FILES}/{his.experiment}/..%5c{hers.file}"),
        ("an empty part", f"{FILES}//{hers.file}"),
        ("a leading dot", f"{FILES}/./{hers.file}"),
        ("a whole path", f"{FILES}/%2fetc%2fpasswd"),
        ("out of the bucket", f"{FILES}/{'../' * 8}etc/passwd"),
        ("a file URL", f"{FILES}/file:%2f%2f%2fetc%2fpasswd"),
        ("a list of all", f"{FILES}?path="),
        ("a list by ../", f"{FILES}?path={his.experiment}/../{hers.experiment}"),
        ("the page's route by ../", f"/get-artifact?run_uuid={his.run}&path=../../../{hers.file}"),
        (
            "the other routes of files",
            f"/ajax-api/2.0/mlflow-artifacts/artifacts/{his.experiment}/../{hers.file}",
        ),
    ]


def _make(client: httpx.Client, name: str) -> Owned:
    def post(what: str, **body: Any) -> Any:
        answer = client.post(f"{API}/{what}", json=body)
        answer.raise_for_status()
        return answer.json()

    experiment = post("experiments/create", name=name)["experiment_id"]
    run = post("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]["run_id"]
    post("runs/log-metric", run_id=run, key="loss", value=1.0, timestamp=1, step=1)
    made = Owned(experiment, run)
    client.put(f"{FILES}/{made.file}", content=SECRET).raise_for_status()
    return made


def _raw(
    machine: Machine,
    login: tuple[str, str],
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
) -> tuple[int, bytes]:
    """A request whose path no client library tidies up."""
    context = ssl.create_default_context(cafile=str(machine.authority.file))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", machine.https_port, timeout=60, context=context
    )
    connection._create_connection = lambda *_, **__: _to(machine)  # type: ignore[attr-defined]
    connection.host = NAME  # for the certificate's name
    token = b64encode(":".join(login).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Host": f"{NAME}:{machine.https_port}"}
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _to(machine: Machine) -> Any:
    import socket

    return socket.create_connection(("127.0.0.1", machine.https_port), 60)


def _await(client: httpx.Client) -> None:
    import time

    for _ in range(600):
        try:
            client.get("/health")
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Caddy does not answer")


def _postgres_listens(machine: Machine) -> str:
    asked = "select setting from pg_settings where name = 'listen_addresses'"
    said = machine.vm_tool("psql", "-qAtX", "-d", "postgres", "-c", asked).strip()
    return said or "its socket alone"


def _status(answer: httpx.Response) -> str:
    return str(answer.status_code)


def _refused(answer: httpx.Response) -> str:
    is_refused = 400 <= answer.status_code < 500
    return "refused" if is_refused else f"{answer.status_code} {answer.text[:120]}"


def _leaked(body: bytes, hers: Owned) -> str:
    """What of it the answer gave away."""
    if SECRET in body:
        return "her bytes"
    if b"root:" in body:
        return "a file of the machine"
    is_listed = b'"files"' in body and (b"secret.png" in body or hers.run.encode() in body)
    return "her list of files" if is_listed else "nothing of it"


def _bytes(answer: httpx.Response) -> str:
    return "her bytes" if answer.content == SECRET else f"{answer.status_code}"


def _first_word(said: str) -> str:
    return "answers" if said.strip().splitlines()[-1].isdigit() else said[-200:]


def _stage(run: Any) -> str:
    return str(run["info"]["lifecycle_stage"])
