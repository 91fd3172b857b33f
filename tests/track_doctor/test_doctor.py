"""The doctor on a real server: all is well, it leaves nothing, and each fault is told."""

import base64
import email.utils
import json
import os
import re
import socket
import time
from pathlib import Path

import pytest

from teststrip.cli.main import main
from teststrip.errors import ConfigError
from teststrip.track.doctor import examine, login, network, writing
from teststrip.track.doctor.examine import CHECKS
from teststrip.track.doctor.finding import Report
from teststrip.track.rest import Login, Unreachable, checked_address, login_of


def looked(seen, check):
    """What one of the checks finds that need a run; everything is taken away again."""
    assert login.login(seen).status == "pass"
    assert writing.run(seen).status == "pass"
    found = check(seen)
    assert writing.tidy(seen).status == "pass"
    return found


def test_a_server_in_order_passes_and_is_left_as_it_was(visit, everything):
    before = everything()

    report = examine(visit(large_mb=3))

    # Other tests' wrong log-ins may have put the brake on for this address.
    held_up = ("wrong login", "default password")
    unwell = {
        f.name: f.found
        for f in report.findings
        if f.status == "fail" or (f.status == "warn" and f.name not in held_up)
    }
    assert unwell == {}
    assert report.ok
    assert [f.name for f in report.findings if f.status == "skip"] == ["certificate"]
    assert everything() == before


def test_a_user_with_few_rights_passes_and_leaves_nothing(visit, everything):
    before = everything()

    report = examine(visit(login=Login("few", "few-rights-here")))

    assert {f.name: f.found for f in report.findings if f.status == "fail"} == {}
    assert report["login"].found == "few"
    assert everything() == before


def test_an_experiment_of_another_user_may_not_be_written(server, visit):
    with server.http() as client:
        client.post("/api/2.0/mlflow/experiments/create", json={"name": "of admin"})

    report = examine(visit(login=Login("other", "somebody-else"), experiment="of admin"))

    assert not report.ok
    assert "403" in report["run"].found
    assert "track users grant" in report["run"].mend
    assert report["registry"].status == "skip"


def test_whoever_stops_it_leaves_nothing_either(visit, everything):
    before = everything()
    seen = visit()
    ask = seen.rest.ask

    def interrupted(method, path, **more):
        if "registered-models/alias" in path:
            raise KeyboardInterrupt
        return ask(method, path, **more)

    seen.rest.ask = interrupted
    with pytest.raises(KeyboardInterrupt):
        examine(seen)

    assert everything() == before


def test_nobody_listens(visit):
    report = examine(visit("http://127.0.0.1:1"))

    assert not report.ok
    assert "refused" in report["health"].found
    assert {f.name for f in report.findings if f.status == "fail"} == {"health"}


def test_a_name_that_leads_nowhere(visit):
    report = examine(visit("https://mlflow.teststrip.invalid"))

    assert report["address"].status == "fail"
    assert report["health"].status == "skip"


@pytest.mark.parametrize(
    ("days", "name", "status", "word"),
    [
        (90, "127.0.0.1", "pass", "90 days"),
        (5, "127.0.0.1", "warn", "5 days"),
        (-2, "127.0.0.1", "fail", "expired"),
        (90, "other.example.org", "fail", "mismatch"),
    ],
)
def test_certificates(visit, proxy, authority, days, name, status, word):
    address, faults = proxy(tls=authority.context(days, name))
    trusts = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(authority.file)}

    seen = visit(address, environ=trusts)
    found = network.certificate(seen)

    assert found.status == status
    assert word in found.found
    if status == "fail":
        report = examine(seen)
        assert report["health"].status == "skip"
        assert faults.paths == []  # nobody told it a password
        with pytest.raises(Unreachable, match="TLS failed"):
            seen.rest.ask("GET", "/health")
    else:
        assert login.login(seen).status == "pass"


def test_a_certificate_of_an_unknown_authority(visit, proxy, authority):
    address, faults = proxy(tls=authority.context(90))

    report = examine(visit(address))

    assert report["certificate"].status == "fail"
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in report["certificate"].mend
    assert faults.paths == []


def test_no_tls_at_all_behind_https(visit, server):
    found = network.certificate(visit(server.address.replace("http:", "https:")))

    assert found.status == "fail"
    assert "no TLS" in found.found


def test_a_public_address_without_tls_is_a_fault_a_private_one_a_warning(visit):
    assert network.address(visit("http://8.8.8.8")).status == "fail"
    assert network.address(visit("http://10.1.2.3:5000")).status == "warn"
    assert network.address(visit("https://8.8.8.8")).status == "pass"


def test_a_name_that_the_server_does_not_know(visit, proxy):
    address, _ = proxy(host="mlflow.example.org")

    report = examine(visit(address))

    assert report["host"].status == "fail"
    assert "TESTSTRIP_TRACK_PUBLIC_URL" in report["host"].mend
    assert report["login"].status == "skip"


def test_a_proxy_that_hides_false_names(visit, proxy):
    address, _ = proxy()

    assert network.other_host(visit(address)).status == "warn"
    assert network.other_host(visit()).status == "pass"


def test_no_log_in_and_a_wrong_one(visit):
    # The server holds up an address with many wrong ones: then it is 429 that it answers.
    assert "none is set" in login.login(visit(login=Login())).found
    wrong = examine(visit(login=Login("admin", "made up")))
    assert wrong["login"].status == "fail"
    assert wrong["run"].status == "skip"
    assert login.login(visit(login=Login(token="made-up"))).status == "fail"


@pytest.mark.parametrize(("status", "word"), [(401, "is refused"), (429, "too many wrong")])
def test_a_refused_log_in(visit, proxy, status, word):
    address, _ = proxy(answers={network.LISTING: (status, {}, b"no")})
    seen = visit(address)

    assert word in login.login(seen).found
    assert login.login(seen).status == "fail"
    expected = "pass" if status == 401 else "warn"
    assert login.wrong_login(seen).status == expected
    assert login.default_password(seen).status == expected


def test_a_proxy_that_lets_everybody_in(visit, proxy, server):
    pair = base64.b64encode(f"{server.username}:{server.password}".encode()).decode()
    address, _ = proxy(login=f"Basic {pair}")
    seen = visit(address)

    assert login.strangers(seen).status == "pass"
    assert login.wrong_login(seen).status == "fail"
    assert login.default_password(seen).status == "fail"

    address, _ = proxy(login=f"Basic {pair}", login_always=True)
    seen = visit(address)
    assert login.strangers(seen).status == "warn"  # on loopback
    assert login.wrong_login(seen).status == "skip"


def test_open_registration_and_open_numbers(visit, proxy):
    plain = {"Content-Type": "text/plain"}
    address, _ = proxy(
        answers={
            "/signup": (200, plain, b"<form>"),
            "/metrics": (200, plain, b"# TYPE teststrip_track_requests_total counter\n"),
        }
    )
    seen = visit(address)

    assert login.sign_up(seen).status == "fail"
    assert login.metrics(seen).status == "warn"
    assert login.sign_up(visit()).status == "pass"
    assert login.metrics(visit()).status == "pass"


def test_a_log_in_page_in_the_way(visit, proxy):
    there = {"Location": "https://login.example.org/start?secret=1"}
    address, _ = proxy(answers={"/health": (302, there, b"")})

    found = network.health(visit(address))

    assert found.status == "fail"
    assert "https://login.example.org" in found.found
    assert "secret" not in found.found


def test_something_else_that_answers(visit, proxy):
    address, _ = proxy(answers={"/health": (200, {}, b"<html>welcome")})

    assert network.health(visit(address)).status == "fail"


def test_answers_of_another_shape_are_a_finding(visit, proxy):
    address, _ = proxy(answers={"/api/2.0/mlflow/experiments/create": (200, {}, b"{}")})

    report = examine(visit(address))

    assert report["run"].status == "fail"
    assert "another shape" in report["run"].found


def test_a_server_that_never_answers(visit, monkeypatch):
    monkeypatch.setattr(network, "PATIENCE_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        report = examine(visit(f"http://127.0.0.1:{silent.getsockname()[1]}"))

    assert "no answer within" in report["health"].found
    assert report["run"].status == "skip"


def test_a_user_who_may_write_and_not_delete_is_told_what_stays(server, visit):
    with server.http() as client:
        made = client.post("/api/2.0/mlflow/experiments/create", json={"name": "shared"}).json()
        client.post(
            "/api/3.0/mlflow/users/permissions/grant",
            json={
                "username": "writer",
                "resource_type": "experiment",
                "resource_id": made["experiment_id"],
                "permission": "EDIT",
            },
        )

    report = examine(visit(login=Login("writer", "may-write-only"), experiment="shared"))

    assert report["images"].status == "pass"
    assert report["registry"].status == "pass"
    assert report["tidy"].status == "warn"
    assert "usual.png" in report["tidy"].found


def test_pictures_that_do_not_pass_are_told_with_the_limit(visit, proxy):
    address, _ = proxy(max_body=1_000_000)

    found = looked(visit(address), writing.images)

    assert found.status == "fail"
    assert "3.1 MB" in found.found
    assert "client_max_body_size" in found.mend


def test_the_largest_file_is_found(visit, proxy):
    address, _ = proxy(max_body=3_500_000)

    found = looked(visit(address, large_mb=16), writing.large)

    assert found.status == "fail"
    assert found.found.startswith("2 MB pass, 4 MB do not")


def test_pictures_that_are_changed_on_the_way(visit, proxy):
    def squeeze(path, body):
        return body[:-12] if path.endswith("usual.png") else body

    address, _ = proxy(change=squeeze)

    found = looked(visit(address), writing.images)

    assert found.status == "fail"
    assert "usual.png" in found.found


def test_artifacts_that_clients_would_write_themselves(visit, proxy):
    address, _ = proxy(change=lambda _, body: body.replace(b"mlflow-artifacts:/", b"s3://bucket/"))

    report = examine(visit(address))

    assert report["proxied"].status == "fail"
    assert "s3://" in report["proxied"].found
    assert report["images"].status == "skip"


@pytest.mark.parametrize(("off", "status"), [(1000, "fail"), (-30, "warn"), (0, "pass")])
def test_clocks(visit, proxy, off, status):
    address, _ = proxy(date=email.utils.formatdate(time.time() + off, usegmt=True))

    assert network.clock(visit(address)).status == status


def test_a_clock_that_is_not_told(visit, proxy):
    address, _ = proxy(date="")

    assert network.clock(visit(address)).status == "warn"


@pytest.mark.parametrize(
    ("told", "status"), [(b"2.9.0", "fail"), (b"3.1.0", "warn"), (b"<html>", "warn")]
)
def test_versions(visit, proxy, told, status):
    address, _ = proxy(answers={"/version": (200, {}, told)})

    assert network.versions(visit(address)).status == status


def test_slow_answers(visit, monkeypatch):
    assert network.latency(visit()).found.startswith("p50 ")
    monkeypatch.setattr(network, "SLOW_S", 0.0)
    assert network.latency(visit()).status == "warn"


def test_what_cannot_be_taken_away_is_named(visit):
    def refuse():
        raise Unreachable("gone")

    seen = visit()
    seen.undo_later("run 7", refuse)

    found = writing.tidy(seen)

    assert found.status == "warn"
    assert "run 7" in found.found


def test_the_verb(server, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    for name, value in server.client_env.items():
        monkeypatch.setenv(name, value)

    assert main(["track", "doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["address"] == server.address
    assert {c["name"] for c in told["checks"] if c["status"] == "fail"} == set()

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-password-9")
    assert main(["track", "doctor", server.address]) == 1
    said = capsys.readouterr()
    assert "FAIL  login" in said.out
    assert "wrong-password-9" not in said.out + said.err


@pytest.mark.parametrize(
    "address",
    ["", "mlflow.example.org", "ftp://x", "http://", "https://x:y", "https://x?y=1", "http://x:0"],
)
def test_an_address_that_is_none(address):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        checked_address(address)


def test_a_password_in_the_address_is_refused_and_not_shown():
    with pytest.raises(ConfigError) as told:
        checked_address("https://ada:very-secret@mlflow.example.org")

    assert "very-secret" not in str(told.value)


def test_the_log_in_is_found_as_mlflow_finds_it(tmp_path):
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = kept\nmlflow_tracking_password = p%ss\n"
    )
    home = {"HOME": str(tmp_path)}

    assert login_of(home) == Login("kept", "p%ss")
    given = home | {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "x"}
    assert login_of(given) == Login("ada", "x")
    assert login_of({"HOME": "/nowhere", "MLFLOW_TRACKING_TOKEN": "t"}) == Login(token="t")
    assert "p%ss" not in repr(login_of(home))


def test_a_report_is_for_people_too():
    report = Report("https://x", (network.passed("fine"), network.failed("amiss", "mend it")))

    assert not report.ok
    assert "-> mend it" in str(report)
    assert "1 pass, 0 warn, 1 fail" in str(report)


def test_the_manual_names_every_check():
    manual = (Path(__file__).parents[2] / "docs" / "tracking-doctor.md").read_text()
    told = re.findall(r"^\| `([a-z -]+)` \|", manual, re.MULTILINE)

    assert told == [check.name for check in CHECKS] + ["tidy"]
