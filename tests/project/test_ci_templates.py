"""The CI files of a new project: valid, least of rights, and about what its layout has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from teststrip.project.layout import STAGES
from teststrip.testing.gitlab_pipeline import Pipeline

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "src/teststrip/project/template"
GITLAB = TEMPLATE / "ci/gitlab/.gitlab-ci.yml"
GITHUB = TEMPLATE / "ci/github/.github/workflows/pipeline.yml"
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_DEFAULT_BRANCH": "main"}
PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_DEFAULT_BRANCH": "main"}
NOTES = {
    path.split("/")[0]
    for stages in STAGES.values()
    for stage in stages
    for path in (*stage.notes, stage.lock)
}


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.read(GITLAB)


@pytest.fixture(scope="module")
def workflow():
    return yaml.load(GITHUB.read_text(), yaml.BaseLoader)  # else `on` is a truth value


def names(jobs):
    return [job.name for job in jobs]


def steps(workflow, action=""):
    return [
        step
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith(action)
    ]


def test_a_change_has_one_pipeline_and_a_branch_alone_none(pipeline):
    both = ["lint", "reproduce"]
    assert names(pipeline.wanted(MERGE_REQUEST)) == [*both, "report"]
    assert names(pipeline.wanted(PUSH | {"CI_COMMIT_BRANCH": "main"})) == both
    assert names(pipeline.wanted(PUSH | {"CI_COMMIT_BRANCH": "idea"})) == []
    assert names(pipeline.wanted(PUSH | {"CI_COMMIT_TAG": "v1"})) == []


def test_a_lost_runner_is_tried_again_and_a_fault_of_the_project_is_not(pipeline):
    (reproduce,) = (job for job in pipeline.jobs if job.name == "reproduce")

    assert reproduce.retries == 2
    assert {"runner_system_failure", "job_execution_timeout"} <= reproduce.retry_when
    assert not {"always", "script_failure"} & reproduce.retry_when
    assert reproduce.retry_codes == {137, 143}, "killed, ended"
    assert reproduce.tags == ("$TESTSTRIP_RUNNER_TAG",)
    assert reproduce.resource_group
    assert all(job.interruptible for job in pipeline.jobs)


def test_what_git_would_keep_reaches_the_report(pipeline, workflow):
    jobs = {job.name: job for job in pipeline.jobs}
    assert set(jobs["reproduce"].artifacts["paths"]) == {"dvc.lock", "report"} | NOTES
    assert jobs["report"].needs == ("reproduce",)
    (results, _) = steps(workflow, "actions/upload-artifact")
    assert set(results["with"]["path"].split()) == {"dvc.lock", "report"} | NOTES


def test_all_of_history_is_there_for_the_report(pipeline, workflow):
    assert pipeline.variables["GIT_DEPTH"] == "0"
    depths = {
        job: [
            step["with"].get("fetch-depth") for step in given["steps"] if "checkout@" in str(step)
        ]
        for job, given in workflow["jobs"].items()
    }
    assert depths == {"lint": [None], "reproduce": ["0"], "report": ["0"]}


def test_actions_are_named_by_commit_and_keep_no_token(workflow):
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    for line in GITHUB.read_text().splitlines():
        assert "uses:" not in line or re.search(r" # v\d+\.\d+\.\d+$", line), line
    for step in steps(workflow, "actions/checkout"):
        assert step["with"]["persist-credentials"] == "false"


def test_rights_are_given_by_job_and_only_the_report_writes(workflow):
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert rights == {
        "lint": {"contents": "read"},
        "reproduce": {"contents": "read"},
        "report": {"contents": "write", "pull-requests": "write"},
    }


def test_nothing_of_a_pull_request_is_pasted_into_a_script(workflow):
    assert all("${{" not in step.get("run", "") for step in steps(workflow))


def test_secrets_reach_two_steps_and_a_fork_reaches_neither(workflow):
    having = {
        name: [step["name"] for step in job["steps"] if "secrets." in str(step)]
        for name, job in workflow["jobs"].items()
    }
    assert having == {
        "lint": [],
        "reproduce": ["Pull, reproduce, push"],
        "report": ["Report"],
    }
    assert "head.repo.full_name == github.repository" in workflow["jobs"]["reproduce"]["if"]
    assert workflow["jobs"]["report"]["needs"] == "reproduce"
    assert "pull_request_target" not in workflow["on"]


def test_no_image_and_no_package_floats(pipeline):
    assert re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+(-\w+)?", pipeline.variables["TESTSTRIP_IMAGE"])
    required = (TEMPLATE / "shared/requirements.txt").read_text()
    asked = [
        re.search(r"\$\((sed [^)]*requirements\.txt)\)", text)
        for text in (GITLAB.read_text(), GITHUB.read_text())
    ]
    for found in asked:
        said = subprocess.run(
            ["bash", "-c", found[1].replace("requirements.txt", "/dev/stdin")],
            input=required,
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.strip() == "==<VERSION>", "the version of requirements.txt, exactly"


def test_both_call_commands_that_exist():
    from typer.main import get_command

    from teststrip.cli.main import app

    for file in (GITLAB, GITHUB):
        called = re.findall(r"^\s*-? ?(?:run: )?teststrip (.+)$", file.read_text(), re.MULTILINE)
        assert len(called) >= 3
        for line in called:
            words, command = line.split(), get_command(app)
            while words and hasattr(command, "commands"):
                if words[0].startswith("--"):
                    break
                command = command.commands[words.pop(0)]
            known = {flag for option in command.params for flag in option.opts}
            assert {word for word in words if word.startswith("--")} <= known, line


VALID = {
    "gitlab": (GITLAB, "check-jsonschema --builtin-schema vendor.gitlab-ci"),
    "github": (GITHUB, "check-jsonschema --builtin-schema vendor.github-workflows"),
    "timeouts": (
        GITHUB,
        "check-jsonschema --builtin-schema custom.github-workflows-require-timeout",
    ),
    "zizmor": (GITHUB, "zizmor --offline --pedantic --no-progress"),
    "yamllint gitlab": (GITLAB, "yamllint --strict"),
    "yamllint github": (GITHUB, "yamllint --strict"),
}


def checked(command, file):
    program, *arguments = command.split()
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments, file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.deploy
@pytest.mark.parametrize("name", VALID)
def test_the_forges_own_schemas_and_linters_find_nothing(name):
    file, command = VALID[name]
    done = checked(command, file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.deploy
def test_what_jobs_extend_is_valid_too(tmp_path):
    """The schema looks at no job whose name begins with a dot."""
    data = yaml.safe_load(GITLAB.read_text())
    data["base"] = data.pop(".teststrip") | {"script": ["true"]}
    for job in ("lint", "reproduce", "report"):
        data[job]["extends"] = "base"
    file = tmp_path / ".gitlab-ci.yml"
    for flag, code in ((True, 0), ("perhaps", 1)):
        data["base"]["interruptible"] = flag
        file.write_text(yaml.safe_dump(data))
        assert checked(VALID["gitlab"][1], file).returncode == code


WRONG = {
    "gitlab": ("resource_group: reproduce", "resource_group: [reproduce]"),
    "github": ("timeout-minutes: 15", "timeout: 15"),
    "timeouts": ("    timeout-minutes: 15\n", ""),
    "zizmor": ("run: dvc dag", "run: echo ${{ github.event.pull_request.title }}"),
    "yamllint gitlab": ("GIT_DEPTH:", "DVC_NO_ANALYTICS: 1\n  GIT_DEPTH:"),
    "yamllint github": ("    name: Lint\n", "    name: Lint\n    name: Lint\n"),
}


@pytest.mark.deploy
@pytest.mark.parametrize("name", VALID)
def test_each_of_them_refuses_what_is_wrong(name, tmp_path):
    file, command = VALID[name]
    right, wrong = WRONG[name]
    text = file.read_text()
    assert right in text
    changed = tmp_path / ".github/workflows" / file.name
    changed.parent.mkdir(parents=True)
    changed.write_text(text.replace(right, wrong, 1))

    assert checked(command, changed).returncode != 0


@pytest.mark.deploy
def test_shellcheck_finds_nothing_in_the_jobs(pipeline, workflow, tmp_path):
    jobs = [("sh", "\n".join(job.before + job.script + job.after)) for job in pipeline.jobs]
    jobs += [("bash", step["run"]) for step in steps(workflow) if "run" in step]
    assert len(jobs) > 8
    for number, (shell, text) in enumerate(jobs):
        file = tmp_path / f"{number}.sh"
        file.write_text(f"#!/bin/{shell}\n{text}\n")
        # SC1091: .venv/bin/activate is not here
        done = checked("shellcheck --exclude=SC1091", file)
        assert done.returncode == 0, f"{text}\n{done.stdout}"
