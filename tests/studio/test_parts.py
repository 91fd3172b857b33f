"""The parts of the app, studies brought from MLflow, and the commands."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from teststrip.errors import StudyError
from teststrip.wire.bringing import bring_from_mlflow
from teststrip.wire.serving import below
from teststrip.wire.studio import opened, parts

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("TESTSTRIP_", "MLFLOW_"))}


@pytest.fixture
def own(made_home, tmp_path):
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


def test_evidence_is_worked_out_once_until_images_or_votes_change(own):
    with opened(own) as made:
        first = made.analysis("colours")
        assert first.facts.objective == "synthetic@1"
        assert made.analysis("colours") is first

        prompt, seed = first.table.loc[0, ["prompt_id", "seed"]]
        left, right = first.table["recipe_id"].unique()[:2]
        vote = {"id": "v1", "prompt_id": prompt, "seed": int(seed), "choice": "left"}
        vote |= {"left": left, "right": right, "rater": "ann"}
        (own / "studies" / "colours" / "votes.jsonl").write_text(json.dumps(vote) + "\n")
        voted = made.analysis("colours")
        assert voted is not first
        assert voted.people.votes == 1

        os.utime(own / "studies" / "colours" / "images.parquet")
        made.index.refresh(own)
        assert made.analysis("colours") is not voted
        with pytest.raises(StudyError, match="no study"):
            made.analysis("../colours")


def test_a_study_without_a_result_has_no_evidence_yet(own):
    path = own / "studies" / "small" / "study.json"
    record = json.loads(path.read_text())
    del record["result"]
    path.write_text(json.dumps(record))
    made = parts(own, in_memory=True)

    with pytest.raises(StudyError, match="no result yet"):
        made.analysis("small")
    made.pictures.close()
    made.index.close()
    assert not (own / "studio").exists()


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A study recorded in MLflow, and then lost with its folder."""
    pytest.importorskip("mlflow")
    from teststrip.wire import Bench

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = tmp_path / "home"
    file = tmp_path / "far.yaml"
    file.write_text(
        "name: far\ngenerator: synthetic\nscorers: [synthetic, technical]\n"
        "objectives: [synthetic]\nprompts: {items: [a, b, c, d]}\nseeds: 1\n"
        "space: {steps: [10, 20]}\ndesign: {kind: grid}\nrace: {kind: none}\n"
    )
    bench = Bench(home)
    bench.run(bench.study_from(file))
    shutil.move(home / "studies" / "far", tmp_path / "kept")
    return home


def test_a_study_that_is_only_in_mlflow_is_brought_with_its_pictures(recorded, tmp_path):
    brought = bring_from_mlflow(recorded)
    assert (brought.studies, brought.here, brought.faults) == (("far",), (), {})

    with opened(recorded) as made:
        entry = made.index.entry("far")
        assert (entry.state, entry.objective, entry.paired) == ("finished", "synthetic@1", True)
        assert {s.column: s.higher_is_better for s in entry.scores}["technical.noise@1"] is False
        row = made.index.query(f"SELECT * FROM {made.index.table('far')} LIMIT 1")[0]
        wanted = (tmp_path / "kept" / row["png"]).read_bytes()
        assert made.pictures.original("far", row["image_key"]) == wanted
        assert made.pictures.thumb("far", row["image_key"], 96)[:4] == b"RIFF"
        assert made.analysis("far").facts.name == "far"
    kept = recorded / "studio" / "remote" / "far" / row["png"]
    assert kept.read_bytes() == wanted

    shutil.move(tmp_path / "kept", recorded / "studies" / "far")
    again = bring_from_mlflow(recorded)
    assert (again.studies, again.here) == ((), ("far",))


@pytest.fixture
def run(own, monkeypatch, capsys):
    """`run("index", "--json", NAME="value")` -> exit code, stdout, stderr."""
    from teststrip.cli.main import main

    for name in set(os.environ) - set(ENVIRONMENT):
        monkeypatch.delenv(name)
    monkeypatch.setenv("TESTSTRIP_HOME", str(own))

    def call(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(["studio", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_index_tells_what_it_holds(own, run):
    (own / "studies" / "small" / "images.parquet").write_bytes(b"")
    code, out, _ = run("index", "--json")

    assert code == 0
    data = json.loads(out)
    rows = {row["name"]: row for row in data["studies"]}
    assert rows["colours"]["images"] == data["images"] > 96
    assert rows["small"]["state"] == "failed"
    assert rows["small"]["fault"]
    assert Path(data["index"]).exists()
    assert "colours" in run("index")[1]


def test_a_tracker_that_is_down_is_one_message(run):
    code, _, err = run("index", "--from-mlflow", MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert code == 1
    assert "127.0.0.1:9" in err


LONG = {"TESTSTRIP_STUDIO_PASSWORD": "p" * 12}


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--host", "0.0.0.0"], {}, "lets other machines in"),
        ([], {"TESTSTRIP_STUDIO_PASSWORD": "short"}, "at least 12"),
        (["--host", "no.such.host.invalid"], LONG, "no such address"),
        ([], LONG | {"TESTSTRIP_STUDIO_PASSWORD_FILE": "/x"}, "both set"),
        ([], {"TESTSTRIP_STUDIO_PASSWORD_FILE": "/nowhere/x"}, "cannot be read"),
        (["--root-path", "studio"], {}, "write it like /studio"),
        (["--root-path", "//evil.example"], {}, "write it like /studio"),
        (["--port", "70000"], {}, "65535"),
    ],
)
def test_wrong_use_is_one_clear_message(run, arguments, environment, says):
    code, out, err = run("serve", *arguments, **environment)

    assert (code, out) == (2, "")
    assert says in err


def test_a_busy_port_is_one_clear_message(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, err = run("serve", "--port", str(taken.getsockname()[1]))

    assert (code, out) == (2, "")
    assert "is in use at 127.0.0.1" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("before", ["", "/lab"], ids=["taken off by the proxy", "left on"])
def test_a_sub_path_holds_behind_any_proxy(app, before):
    below_lab = TestClient(below(app, "/lab"), base_url="http://127.0.0.1")
    page = below_lab.get(f"{before}/", headers={"accept": "text/html"})

    assert page.status_code == 200
    links = re.findall(r'(?:href|src)="(/[^"]*)"', page.text)
    assert links
    assert all(link.startswith("/lab/") for link in links)
    assert {below_lab.get(link).status_code for link in links} == {200}
    assert below_lab.get(links[0].removeprefix("/lab")).status_code == 200


SERVE = ["studio", "serve", "--port", "0", "--root-path", "/lab", "--json"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_who_knows_the_password_and_ends_cleanly(own, tmp_path, end):
    secret = tmp_path / "secret"
    secret.write_text("a long password\n")
    told = {"TESTSTRIP_HOME": str(own), "TESTSTRIP_STUDIO_PASSWORD_FILE": str(secret)}
    serving = subprocess.Popen(
        [sys.executable, "-m", "teststrip", *SERVE],
        env=ENVIRONMENT | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = json.loads(serving.stdout.readline())["address"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/lab/", address)
        with urllib.request.urlopen(address + "healthz") as answer:  # probes have no password
            assert json.load(answer) == {"status": "ok"}
        asked = urllib.request.Request(address)
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(asked)
        refused.value.close()
        asked.add_header("Authorization", "Bearer a long password")
        with urllib.request.urlopen(asked) as answer:
            assert answer.status == 200
    finally:
        serving.send_signal(end)
        said = serving.communicate(timeout=60)
    assert (serving.returncode, said) == (0, ("", ""))
