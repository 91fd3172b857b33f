"""The stage `report` of a project, and `project report` in a merge request's job."""

import json
import os
import re
import shutil
import sys

import pytest

from tests.project.reported import begin, write_results
from teststrip.project.record import Record
from teststrip.testing.commands import Commands
from teststrip.testing.forges import GitLab
from teststrip.wire.project_report import report
from teststrip.wire.project_run import run_stages


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    root = tmp_path / "project"
    write_results(root, curves=True)
    return root


def test_the_stage_writes_a_whole_report_and_its_record(project):
    run_stages(project, ["report"], track=False)

    record = Record.read(project / "locks/report.json")
    assert set(record.outputs) == {
        f"report/{name}" for name in ("index.html", "report.md", "contact-sheet.png", "curves.png")
    }
    assert record.resolved == {"score": "clip_small@1"}


def test_the_stage_gives_the_same_bytes_whatever_the_records_and_the_folder(project, tmp_path):
    other = shutil.copytree(project, tmp_path / "elsewhere" / "copy")
    shutil.rmtree(other / "locks")
    begin(other)

    for root in (project, other):
        run_stages(root, ["report"], track=False)

    records = [Record.read(root / "locks/report.json") for root in (project, other)]
    assert records[0].outputs == records[1].outputs


def test_a_merge_request_gets_one_note_with_pictures(project, monkeypatch):
    begin(project)
    write_results(project, shift=0.03, seed=5)
    server = GitLab(merge_requests=(1,))
    for name, value in server.variables(project).items():
        monkeypatch.setenv(name, value)
    try:
        first = report(project, "HEAD")
        write_results(project, shift=-0.03, seed=5)
        second = report(project, "HEAD")
    finally:
        server.close()

    (note,) = server.notes[1]
    assert first.ok
    assert second.ok
    assert "Worse: the change brings" in note.body
    assert re.search(r"\]\(/uploads/[0-9a-f]{32}/contact-sheet.png\)", note.body)
    assert len(server.uploads) >= 2


def test_a_server_that_refuses_is_told_and_the_report_is_there(project, monkeypatch):
    begin(project)
    server = GitLab(merge_requests=(1,))
    for name, value in server.variables(project).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TESTSTRIP_GITLAB_TOKEN", "glpat-wrong-token")
    try:
        found = report(project, "HEAD")
    finally:
        server.close()

    assert not found.ok
    assert "glpat-wrong-token" not in f"{found} {json.dumps(found.as_dict())}"
    assert "not posted: " in str(found)
    assert (project / "comparison/index.html").is_file()


def test_the_command_says_the_verdict_and_exits_with_0(project):
    begin(project)
    write_results(project, shift=0.03, seed=5)

    answer = Commands(project).teststrip("project", "report", "--base", "main", "--json")

    assert answer.code == 0, answer
    assert json.loads(answer.out)["verdict"] == "better"
    assert answer.err == ""


def test_the_command_refuses_an_unknown_revision_without_a_traceback(project):
    begin(project)

    answer = Commands(project).teststrip("project", "report", "--base", "nowhere")

    assert answer.code == 2
    assert "'nowhere' is not in this repository; its branches are main" in answer.err
    assert "Traceback" not in answer.said


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split(","):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from teststrip.errors import TeststripError
from teststrip.wire.project_report import report
try:
    print(report(Path(sys.argv[1]), "HEAD").verdict.word)
except TeststripError as exc:
    print(type(exc).__name__, exc)
"""


def test_a_runner_without_torch_writes_a_report_and_one_without_scipy_says_what_to_install(project):
    begin(project)
    heavy = "torch,diffusers,transformers,pandas,pyarrow,mlflow,optuna"
    commands = Commands(project)

    lean = commands.run(sys.executable, "-c", BLOCKED, str(project), heavy)
    bare = commands.run(sys.executable, "-c", BLOCKED, str(project), "scipy")

    assert lean.out == "not distinguishable\n", lean
    assert bare.out.startswith("MissingExtra a report needs an optional part: pip install"), bare
