"""The runner of GitLab's jobs that tests use: it does what GitLab does, nothing in silence."""

from pathlib import Path

import pytest

from teststrip.testing.commands import Commands
from teststrip.testing.gitlab_jobs import GitLabJobs
from teststrip.testing.gitlab_pipeline import Pipeline, expanded, is_true

FILE = """
stages: [first, second, third]
workflow:
  rules:
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
variables: {WORD: "$NAME and more", NAME: a}
.base:
  before_script: [export SET=by-before]
  variables: {INNER: base, KEPT: base}
last:
  stage: third
  needs: [make]
  script: [test -f made/one, test ! -e unwanted, test ! -e two, cat made/one]
make:
  extends: .base
  stage: first
  variables: {INNER: own}
  script:
    - mkdir made
    - echo "$SET $INNER $KEPT $WORD $SECRET" >made/one
    - touch unwanted made/.hidden
  artifacts: {paths: [made]}
again:
  stage: second
  script:
    - test ! -e again && echo run >>"$KEEP"
    - seconds=$(cat "$SLEEP"); touch again; sleep 60 & sleep "$seconds"
    - touch two
  retry: {max: 2, when: [runner_system_failure], exit_codes: [137]}
  artifacts: {paths: [two]}
  cache: {key: {files: [named]}, paths: [cached]}
never:
  stage: second
  rules: [{if: $UNSET}]
  script: [exit 9]
"""


@pytest.fixture
def project(tmp_path):
    commands = Commands(tmp_path / "project")
    commands.folder.mkdir()
    (commands.folder / ".gitlab-ci.yml").write_text(FILE)
    (commands.folder / "named").write_text("key")
    commands.begin()
    (tmp_path / "seconds").write_text("0")
    settings = {
        "SECRET": "s3cr3t",
        "KEEP": str(tmp_path / "runs"),
        "SLEEP": str(tmp_path / "seconds"),
    }
    jobs = GitLabJobs(commands.folder, tmp_path / "ci", commands.env, settings)
    return commands, jobs


def go(commands, jobs, **facts):
    commit = commands.git("rev-parse", "HEAD").strip()
    return jobs.run(commit, CI_COMMIT_BRANCH="main", CI_PIPELINE_SOURCE="push", **facts)


def test_jobs_run_by_stage_in_fresh_clones_with_what_they_need(project):
    commands, jobs = project

    ran = go(commands, jobs)

    assert [(one.job, one.attempt, one.code, one.reason) for one in ran] == [
        ("make", 1, 0, ""),
        ("again", 1, 0, ""),
        ("last", 1, 0, ""),
    ], [one.log for one in ran]
    assert ran[-1].log.strip() == "by-before own base a and more s3cr3t"
    assert not (commands.folder / "made").exists()


def test_a_lost_runner_is_killed_with_its_children_and_its_job_runs_again(project, tmp_path):
    commands, jobs = project
    (tmp_path / "seconds").write_text("60")

    def lost(job, attempt, folder):
        """The first attempt, once it has begun to wait; the second one waits no more."""
        if job.name == "again" and attempt == 1 and (folder / "again").exists():
            (tmp_path / "seconds").write_text("0")
            return True
        return False

    ran = jobs.run(commands.git("rev-parse", "HEAD").strip(), lost=lost, CI_COMMIT_BRANCH="main")

    assert [(one.job, one.reason) for one in ran] == [
        ("make", ""),
        ("again", "runner_system_failure"),
        ("again", ""),
        ("last", ""),
    ]
    assert (tmp_path / "runs").read_text() == "run\nrun\n", "in a folder of its own each time"


def test_a_fault_of_the_script_ends_the_pipeline(project):
    commands, jobs = project
    jobs.variables = {**jobs.variables, "SLEEP": "/nowhere"}

    ran = go(commands, jobs)

    assert [(one.job, one.reason) for one in ran] == [("make", ""), ("again", "script_failure")]


def test_an_exit_code_that_retry_names_is_tried_again(project):
    commands, jobs = project
    text = FILE.replace("    - touch two\n", "    - exit 137\n")
    (commands.folder / ".gitlab-ci.yml").write_text(text)
    commands.commit("It is killed each time")

    assert [one.code for one in go(commands, jobs)] == [0, 137, 137, 137]


def test_a_cache_comes_back_under_the_same_key(project):
    commands, jobs = project
    text = FILE.replace("    - touch two\n", "    - mkdir -p cached; ls cached; touch cached/it\n")
    (commands.folder / ".gitlab-ci.yml").write_text(text)
    commands.commit("A cache")

    first, second = go(commands, jobs)[1], go(commands, jobs)[1]
    (commands.folder / "named").write_text("another")
    commands.commit("Another key")
    third = go(commands, jobs)[1]

    assert [one.log for one in (first, second, third)] == ["", "it\n", ""]


def test_a_branch_has_no_pipeline(project):
    commands, jobs = project
    commit = commands.git("rev-parse", "HEAD").strip()

    assert jobs.run(commit, CI_COMMIT_BRANCH="idea") == []


def test_a_shallow_clone_has_the_last_commits_alone(project):
    commands, jobs = project
    text = FILE.replace("variables: {WORD", 'variables: {GIT_DEPTH: "1", WORD')
    text = text.replace("cat made/one]", "git rev-list --count HEAD]")
    (commands.folder / ".gitlab-ci.yml").write_text(text)
    commands.commit("Shallow")

    assert go(commands, jobs)[-1].log.strip() == "1"


@pytest.mark.parametrize(
    "change",
    [
        ("  stage: third\n", "  stage: fourth\n"),
        ("  stage: third\n", "  stage: third\n  parallel: 3\n"),
    ],
)
def test_what_is_not_known_is_an_error(change, tmp_path):
    file = tmp_path / "ci.yml"
    file.write_text(FILE.replace(*change))

    with pytest.raises(AssertionError, match="not known here"):
        Pipeline.read(file)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$A == 'x'", None),
        ('$A == "x"', True),
        ('$A != "x" || $B', True),
        ("$A && $NONE", False),
        ("$NONE == null", True),
        ("$A =~ /^x/", True),
        ("$A !~ /^x/", False),
        ("$A == $B", False),
        ('($A == "x")', None),
    ],
)
def test_conditions(expression, expected):
    given = {"A": "x", "B": "y"}
    if expected is None:
        with pytest.raises(AssertionError, match="not known here"):
            is_true(expression, given)
    else:
        assert is_true(expression, given) is expected


def test_a_variable_may_name_another():
    given = {"A": "$B/${C}", "B": "b", "C": "c"}

    assert expanded("$A-$NONE", given) == "b/c-"
    assert Path(expanded("/x/$A", given)) == Path("/x/b/c")
