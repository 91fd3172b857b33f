"""Users and rights on a real server: what a right lets do, and that no password is told."""

import io
import json
import os

import httpx
import pytest

from teststrip.cli.main import main
from teststrip.testing.track_process import TrackProcess
from teststrip.track.rest import Login, Rest
from teststrip.track.users import Users, new_password

PASSWORD = "a-password-of-ada"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with TrackProcess(tmp_path_factory.mktemp("track")) as started:
        yield started


@pytest.fixture
def run(server, monkeypatch, capsys, tmp_path):
    """`teststrip track users` as the first user: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    for name, value in server.client_env.items():
        monkeypatch.setenv(name, value)

    def command(*words, stdin=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(["track", "users", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def ada(server):
    """A user, gone afterwards; her client."""
    rest = Rest(server.address, Login(server.username, server.password), environ={})
    users = Users(rest)
    users.add("ada", PASSWORD)
    with server.http(login=("ada", PASSWORD)) as client:
        yield client
    users.remove("ada")
    rest.close()


@pytest.fixture
def experiment(server, request):
    """(name, id) of an experiment of the first user."""
    name = f"of {request.node.name}"
    with server.http() as client:
        made = client.post("/api/2.0/mlflow/experiments/create", json={"name": name})
    return name, made.json()["experiment_id"]


def can(client: httpx.Client, number: str) -> tuple[bool, bool]:
    """(may read, may write) the experiment."""
    read = client.get("/api/2.0/mlflow/experiments/get", params={"experiment_id": number})
    write = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": number})
    assert {read.status_code, write.status_code} <= {200, 403}
    return read.status_code == 200, write.status_code == 200


def test_rights_hold_and_replace_each_other(run, ada, experiment):
    name, number = experiment
    assert can(ada, number) == (False, False)

    for permission, expected in [
        ("READ", (True, False)),
        ("edit", (True, True)),
        ("READ", (True, False)),
        ("MANAGE", (True, True)),
        ("DENY", (False, False)),
        ("NONE", (False, False)),
        ("NONE", (False, False)),
    ]:
        code, out, err = run("grant", name, "ada", permission)
        assert (code, err) == (0, "")
        assert can(ada, number) == expected, permission
    assert out == f"ada has NO_PERMISSIONS on experiment '{name}'\n"


def test_a_right_on_a_registered_model(run, ada, server):
    with server.http() as client:
        client.post("/api/2.0/mlflow/registered-models/create", json={"name": "posters"})
    get = "/api/2.0/mlflow/registered-models/get?name=posters"
    assert ada.get(get).status_code == 403

    code, out, _ = run("grant", "posters", "ada", "READ", "--model", "--json")

    assert code == 0
    assert json.loads(out)["permission"] == "READ"
    assert ada.get(get).status_code == 200


def test_listing_shows_names_and_rights(run, ada, experiment):
    run("grant", experiment[0], "ada", "READ")

    rows = {row["name"]: row for row in json.loads(run("list", "--json")[1])["users"]}

    right = {"kind": "experiment", "name": experiment[0], "permission": "READ"}
    assert rows["ada"] == {"name": "ada", "is_admin": False, "rights": [right]}
    assert rows["admin"]["is_admin"]
    assert f"READ on experiment '{experiment[0]}'" in run("list")[1]


def test_a_generated_password_is_shown_once_and_works(run, server):
    code, out, _ = run("add", "bo", "--generate", "--json")

    made = json.loads(out)["password"]
    assert code == 0
    assert len(made) >= 20
    with server.http(login=("bo", made)) as client:
        assert client.get(SEARCH).status_code == 200
    assert made not in "".join(run("list")[1:])
    assert run("remove", "bo", "--yes")[0] == 0
    with server.http(login=("bo", made)) as client:
        assert client.get(SEARCH).status_code == 401


def test_a_password_from_standard_input(run, server):
    code, out, err = run("add", "ci", "--stdin", "--admin", stdin="from-a-file-0\n")

    assert code == 0
    assert "from-a-file-0" not in out + err
    with server.http(login=("ci", "from-a-file-0")) as client:
        assert client.get("/api/2.0/mlflow/users/list").status_code == 200
    assert run("password", "ci", "--stdin", stdin="another-one-00\n")[0] == 0
    with server.http(login=("ci", "from-a-file-0")) as client:
        assert client.get(SEARCH).status_code == 401
    with server.http(login=("ci", "another-one-00")) as client:
        assert client.get(SEARCH).status_code == 200
    assert run("remove", "ci", "--yes")[0] == 0


def test_ones_own_password(run, server, monkeypatch):
    run("add", "eve", "--stdin", stdin="first-password\n")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "eve")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "first-password")

    assert run("password", "eve", "--stdin", stdin="second-password\n")[0] == 0

    with server.http(login=("eve", "second-password")) as client:
        assert client.get(SEARCH).status_code == 200


def test_nobody_but_an_administrator(run, ada, experiment, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)

    for words in (
        ("add", "mallory", "--generate"),
        ("remove", "admin", "--yes"),
        ("password", "admin", "--generate"),
        ("grant", experiment[0], "ada", "MANAGE"),
    ):
        code, _, err = run(*words)
        assert code == 1, words
        assert "an administrator may" in err


def test_a_wrong_log_in(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")

    code, _, err = run("list")

    assert code == 1
    assert "is refused" in err
    assert "not-the-password" not in err


def test_a_name_that_is_taken_tells_no_secret(run, ada):
    code, out, err = run("add", "ada", "--stdin", stdin="some-password-1\n")

    assert code == 2
    assert "is there already" in err
    assert not any(word in out + err for word in ("scrypt", "pbkdf2", "INSERT", "some-password-1"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "a:b", "--stdin"), "without a colon"),
        (("add", "a b ", "--stdin"), "spaces around"),
        (("password", "admin", "--stdin"), "at least 12"),
        (("add", "ada"), "--generate"),
        (("add", "ada", "--stdin", "--generate"), "one is accepted"),
        (("remove", "admin"), "--yes"),
        (("remove", "nobody", "--yes"), "RESOURCE_DOES_NOT_EXIST"),
        (("grant", "Default", "admin", "OWNER"), "READ, EDIT, MANAGE"),
        (("grant", "nothing", "admin", "READ"), "Could not find experiment"),
        (("grant", "nothing", "admin", "READ", "--model"), "not found"),
        (("grant", "Default", "nobody", "READ"), "nobody"),
        (("grant", "Default", "nobody", "NONE"), "nobody"),
        (("list", "--server", "https://me:secret@x"), "holds a log-in"),
    ],
)
def test_wrong_use_is_told_in_full(run, words, told):
    code, _, err = run(*words, stdin="short\n")

    assert code == 2
    assert told in err
    assert "secret" not in err


def test_without_a_log_in(run, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("HOME", "/nowhere")

    code, _, err = run("list")

    assert code == 2
    assert "MLFLOW_TRACKING_USERNAME" in err


def test_generated_passwords_are_long_and_new():
    made = {new_password() for _ in range(100)}

    assert len(made) == 100
    assert {len(password) for password in made} == {24}
