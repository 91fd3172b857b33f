"""`teststrip project report` as CI calls it: a real change in git, a real server, no network."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.project.reported import PARAMS, begin, commit, write_results
from teststrip.cli.main import app
from teststrip.testing.commands import Commands
from teststrip.testing.forges import GitHub, GitLab
from teststrip.testing.forges.github import Token


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """A project whose second commit made its pictures better."""
    root = tmp_path_factory.mktemp("verb") / "project"
    write_results(root, curves=True)
    commands = begin(root)
    faster = PARAMS | {"train": PARAMS["train"] | {"learning_rate": 0.002}}
    write_results(root, shift=0.05, seed=5, params=faster, curves=True)
    return commit(commands, "Faster")


@pytest.fixture
def reported(project: Commands, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The verb in this process: its exit code and what it printed."""

    def called(variables: dict[str, str], out: Path, *more: str) -> Any:
        for name in ("GITLAB_CI", "GITHUB_ACTIONS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({**project.env, **variables}).items():
            monkeypatch.setenv(name, value)
        words = ["project", "report", "--project", str(project.folder), "--base", "HEAD~1"]
        return CliRunner().invoke(app, [*words, "--out", str(out), *more])

    return called


def test_the_verb_writes_gitlabs_note(reported: Callable[..., Any], tmp_path: Path) -> None:
    server = GitLab()
    try:
        said = reported(server.variables(tmp_path), tmp_path / "comparison")

        assert said.exit_code == 0, said.output
        assert "posted: http" in said.stdout
        (note,) = server.notes[1]
        assert re.search(r"^## .*better", note.body, re.IGNORECASE | re.MULTILINE)
        assert "/-/jobs/1001/artifacts/file/comparison/index.html" in note.body
        assert len(server.uploads) == note.body.count("](/uploads/") == 2  # sheet and curves
        assert all(content.startswith(b"\x89PNG") for content in server.uploads.values())
        assert "glpat-" not in said.output
        assert server.commands == []
    finally:
        server.close()


@pytest.mark.slow
def test_the_next_pipeline_brings_the_note_up_to_date(
    reported: Callable[..., Any], tmp_path: Path
) -> None:
    server = GitLab()
    try:
        reported(server.variables(tmp_path, pipeline=1), tmp_path / "comparison")
        again = reported(server.variables(tmp_path, pipeline=2), tmp_path / "comparison", "--json")

        (note,) = server.notes[1]
        assert json.loads(again.stdout)["posted"]["url"].endswith(f"#note_{note.id}")
        assert "run:2 -->" in note.body
        assert len(server.uploads) == 2  # the same pictures again: none is sent twice
    finally:
        server.close()


@pytest.mark.slow
def test_the_verb_writes_githubs_comment_pictures_and_summary(
    reported: Callable[..., Any], tmp_path: Path
) -> None:
    server = GitHub(tmp_path / "github")
    server.tokens["ghs_job"] = Token(contents="write")
    try:
        variables = server.variables(tmp_path)
        said = reported(variables, tmp_path / "comparison")

        assert said.exit_code == 0, said.output
        (comment,) = server.comments
        assert comment.body.count("?raw=true)") == 2
        summary = Path(variables["GITHUB_STEP_SUMMARY"]).read_text()
        assert "better" in summary.lower()
        assert "![" not in summary
    finally:
        server.close()


@pytest.mark.slow
def test_a_refused_token_fails_the_job_and_the_report_is_there(
    reported: Callable[..., Any], tmp_path: Path
) -> None:
    server = GitLab()
    out = tmp_path / "comparison"
    try:
        said = reported(server.variables(tmp_path, token="glpat-revoked"), out)

        assert said.exit_code == 1
        assert "make a new project access token" in said.output
        assert "Traceback" not in said.output
        assert "glpat-revoked" not in said.output
        assert (out / "index.html").is_file()
    finally:
        server.close()


@pytest.mark.slow
def test_a_rehearsal_in_a_job_prints_the_note(reported: Callable[..., Any], tmp_path: Path) -> None:
    server = GitLab()
    try:
        said = reported(server.variables(tmp_path), tmp_path / "out", "--dry-run")

        assert said.exit_code == 0, said.output
        assert "<!-- teststrip:report" in said.stdout
        assert server.seen == []
    finally:
        server.close()


@pytest.mark.slow
def test_posting_outside_ci_is_refused_and_the_report_is_there(
    reported: Callable[..., Any], tmp_path: Path
) -> None:
    said = reported({}, tmp_path / "out", "--post")

    assert said.exit_code == 1
    assert "this is no job of GitLab's or GitHub's CI" in said.output
    assert (tmp_path / "out" / "report.md").is_file()
