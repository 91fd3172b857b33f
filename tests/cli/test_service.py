"""`teststrip service`: the verbs of an operator, and what is said when they cannot."""

import json
import logging
from collections.abc import Iterator

import pytest

from teststrip.serve.web.keys import KeyRing


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[None]:
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    yield
    for name in ("uvicorn", "aio_pika", "aiormq", "redis", "mlflow"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).propagate = True


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(run, monkeypatch, tmp_path):
    monkeypatch.setenv("TESTSTRIP_SERVICE_KEYS_FILE", str(tmp_path / "keys.json"))

    made = run("service", "keys", "add", "shop", "--scope", "people", "--per-minute", 5, "--json")

    ring = KeyRing(tmp_path / "keys.json")
    assert ring.find(made.json["key"]).name == "shop"
    assert ring.find(made.json["key"]).per_minute == 5
    assert made.json["key"] not in (tmp_path / "keys.json").read_text()
    listed = run("service", "keys", "list", "--json")
    assert [key["name"] for key in listed.json["keys"]] == ["shop"]
    assert made.json["key"] not in listed.out
    assert "hash" not in listed.json["keys"][0]

    assert run("service", "keys", "revoke", "shop", "--json").json["id"] == made.json["id"]
    assert run("service", "keys", "revoke", "shop").code == 2
    assert run("service", "keys", "list").out.startswith("no keys in")


def test_a_key_that_the_service_does_not_ask_for_yet_says_how(run):
    made = run("service", "keys", "add", "me")

    assert made.code == 0
    assert "TESTSTRIP_SERVICE_KEYS_FILE=" in made.out


def test_an_unknown_scope_is_told_with_those_that_there_are(run):
    made = run("service", "keys", "add", "me", "--scope", "root")

    assert made.code == 2
    assert "people" in made.err


def test_the_secret_of_webhooks_is_the_same_each_time_and_another_for_each_key(run):
    run("service", "keys", "add", "shop")

    own = [run("service", "keys", "webhook", *words).out for words in ([], [], ["shop"])]

    assert own[0] == own[1] != own[2]
    assert all(secret.startswith("whsec_") for secret in own)
    assert run("service", "keys", "webhook", "nobody").code == 2


def test_the_status_of_a_service_that_does_not_run(run):
    told = run("service", "status", "--json")

    assert told.code == 0
    assert told.json["kind"] == "one process"
    assert told.json["running"] is False
    assert told.json["ready"] == {"state": True, "store": True, "queue": True}
    assert told.json["waiting"] == {"people": 0, "api": 0, "sweep": 0}
    assert "not running" in run("service", "status").out


def test_there_are_no_dead_letters_and_none_can_be_queued_again(run):
    assert run("service", "dead", "list", "--json").json == {"dead": []}

    again = run("service", "dead", "requeue", "0" * 32)
    assert again.code == 2
    assert "no job" in again.err


@pytest.mark.parametrize("verb", ["web", "worker"])
def test_web_and_worker_say_which_servers_they_need(run, verb):
    answer = run("service", verb)

    assert answer.code == 2
    assert "TESTSTRIP_SERVICE_BROKER" in answer.err
    assert "teststrip service up" in answer.err


def test_a_public_bind_without_keys_is_refused(run, monkeypatch, tmp_path):
    bare = run("service", "up", "--host", "0.0.0.0")
    monkeypatch.setenv("TESTSTRIP_SERVICE_KEYS_FILE", str(tmp_path / "none.json"))
    without = run("service", "up", "--host", "0.0.0.0")

    assert bare.code == without.code == 2
    assert "no API key is asked for" in bare.err
    assert "make a key first" in without.err


def test_settings_with_faults_are_all_told_before_anything_starts(run, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_SERVICE_MAX_N", "0")
    monkeypatch.setenv("TESTSTRIP_SERVICE_MAX_PIXEL", "100")

    answer = run("service", "up", "--json")

    assert answer.code == 2
    faults = json.loads(answer.out)["error"]["faults"]
    assert len(faults) == 2
    assert any("did you mean TESTSTRIP_SERVICE_MAX_PIXELS" in fault for fault in faults)


def test_a_busy_port_is_told(run):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run("service", "up", "--port", taken.getsockname()[1])

    assert answer.code == 2
    assert "is in use" in answer.err


@pytest.mark.parametrize("verb", ["up", "web", "worker", "status", "ratings", "keys", "dead"])
def test_every_verb_has_help(run, verb):
    assert run("service", verb, "--help").code == 0
