"""Where a job is: read from what GitLab's and GitHub's CI put into its environment."""

import json
from pathlib import Path

import pytest

from teststrip.errors import ConfigError
from teststrip.project.forge import place_from

GITLAB = {
    "GITLAB_CI": "true",
    "CI_API_V4_URL": "https://gitlab.example.org/api/v4",
    "CI_PROJECT_ID": "5",
    "CI_PROJECT_URL": "https://gitlab.example.org/group/project",
    "CI_PROJECT_DIR": "/builds/group/project",
    "CI_PIPELINE_ID": "4711",
    "CI_JOB_URL": "https://gitlab.example.org/group/project/-/jobs/9",
    "CI_JOB_TOKEN": "glcbt-1",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_ID": "5",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "5",
    "TESTSTRIP_GITLAB_TOKEN": "glpat-secret",
}
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://api.github.com",
    "GITHUB_GRAPHQL_URL": "https://api.github.com/graphql",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "owner/repo",
    "GITHUB_RUN_ID": "4711",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_TOKEN": "ghs_secret",
}


def test_outside_ci_there_is_no_place() -> None:
    assert place_from({}) is None
    assert place_from({"CI": "true"}) is None


def test_a_gitlab_job_of_a_merge_request() -> None:
    place = place_from(GITLAB)

    assert place is not None
    assert (place.forge, place.project, place.number, place.run) == ("gitlab", "5", 7, 4711)
    assert not place.obstacle
    assert not place.is_lesser
    assert place.link(Path("/builds/group/project/comparison/index.html")) == (
        "https://gitlab.example.org/group/project/-/jobs/9/artifacts/file/comparison/index.html"
    )
    assert place.link(Path("/somewhere/else.html")) == ""


def test_a_fork_is_told_from_its_target() -> None:
    place = place_from(GITLAB | {"CI_PROJECT_ID": "9", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "9"})

    assert place is not None
    assert place.project == "5"
    assert place.is_lesser


def test_a_branch_has_no_merge_request() -> None:
    place = place_from({k: v for k, v in GITLAB.items() if "MERGE_REQUEST" not in k})

    assert place is not None
    assert place.number is None


@pytest.mark.parametrize("token", ["glcbt-1", "glcbt-another"])
def test_a_job_token_is_no_token_for_notes(token: str) -> None:
    place = place_from(GITLAB | {"TESTSTRIP_GITLAB_TOKEN": token})

    assert place is not None
    assert "may not write notes" in place.obstacle


def test_a_missing_token_says_how_one_is_made() -> None:
    place = place_from(GITLAB | {"TESTSTRIP_GITLAB_TOKEN": ""})

    assert place is not None
    assert "project access token (role Reporter, scope api)" in place.obstacle
    assert "not protected" in place.obstacle


@pytest.mark.parametrize(
    "address",
    [
        "http://gitlab.example.org/api/v4",
        "https://user:password@gitlab.example.org/api/v4",
        "https://gitlab.example.org/api/v4?to=elsewhere",
        "ftp://gitlab.example.org",
        "https://gitlab.example.org:port/api/v4",
        "https://gitlab.example.org /api/v4",
        "",
    ],
)
def test_no_token_is_sent_to_such_an_address(address: str) -> None:
    with pytest.raises(ConfigError, match="CI_API_V4_URL: an https:// address is expected"):
        place_from(GITLAB | {"CI_API_V4_URL": address})


def test_a_token_is_taken_without_the_lines_end_that_came_with_it() -> None:
    place = place_from(GITLAB | {"TESTSTRIP_GITLAB_TOKEN": " glpat-1\n"})

    assert place is not None
    assert place.token == "glpat-1"


@pytest.mark.parametrize("token", ["glpat\n1", "glpät-1", "glpat 1"])
def test_what_can_be_no_token_is_not_shown_either(token: str) -> None:
    with pytest.raises(ConfigError, match="characters that no token has") as caught:
        place_from(GITLAB | {"TESTSTRIP_GITLAB_TOKEN": token})

    assert token not in str(caught.value)


def test_every_fault_is_named_at_once() -> None:
    wrong = {"CI_API_V4_URL": "gitlab", "CI_MERGE_REQUEST_IID": "seven", "CI_PIPELINE_ID": "-1"}

    with pytest.raises(ConfigError, match="3 faults") as caught:
        place_from(GITLAB | wrong)

    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "CI_API_V4_URL",
        "CI_MERGE_REQUEST_IID",
        "CI_PIPELINE_ID",
    ]


def test_the_token_stands_in_no_text_of_the_place() -> None:
    assert "secret" not in repr(place_from(GITLAB))
    assert "secret" not in repr(place_from(GITHUB))


def test_a_github_job_of_a_pull_request(tmp_path: Path) -> None:
    repo = {"full_name": "owner/repo"}
    pull = {"number": 12, "head": {"sha": "abc", "repo": repo}, "base": {"repo": repo}}
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": pull}))

    place = place_from(GITHUB | {"GITHUB_EVENT_PATH": str(event)})

    assert place is not None
    assert (place.forge, place.project, place.number, place.run) == (
        "github", "owner/repo", 12, 4711,
    )  # fmt: skip
    assert place.commit == "abc"
    assert not place.is_lesser
    assert place.link(Path("x")) == "https://github.com/owner/repo/actions/runs/4711#artifacts"


def test_github_names_the_pull_request_in_the_ref_too() -> None:
    place = place_from(GITHUB)
    of_a_push = place_from(GITHUB | {"GITHUB_REF": "refs/heads/pull/7"})

    assert place is not None
    assert place.number == 7
    assert of_a_push is not None
    assert of_a_push.number is None


@pytest.mark.parametrize("head", [{"repo": {"full_name": "stranger/repo"}}, {"repo": None}])
def test_a_fork_on_github_even_one_that_is_gone(tmp_path: Path, head: object) -> None:
    base = {"repo": {"full_name": "owner/repo"}}
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 12, "head": head, "base": base}}))

    place = place_from(GITHUB | {"GITHUB_EVENT_PATH": str(event)})

    assert place is not None
    assert place.is_lesser


def test_dependabot_has_a_token_that_only_reads() -> None:
    place = place_from(GITHUB | {"GITHUB_ACTOR": "dependabot[bot]"})

    assert place is not None
    assert place.is_lesser


def test_both_addresses_of_github_are_one_servers() -> None:
    with pytest.raises(ConfigError, match="different servers"):
        place_from(GITHUB | {"GITHUB_GRAPHQL_URL": "https://elsewhere.example.org/graphql"})


@pytest.mark.parametrize("content", ["[", None])
def test_an_event_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    event = tmp_path / "event.json"
    if content is not None:
        event.write_text(content)

    with pytest.raises(ConfigError, match="GITHUB_EVENT_PATH"):
        place_from(GITHUB | {"GITHUB_EVENT_PATH": str(event)})


@pytest.mark.parametrize("content", ["[]", '"text"', '{"pull_request": 3}'])
def test_an_event_of_another_kind_belongs_to_no_pull_request(tmp_path: Path, content: str) -> None:
    event = tmp_path / "event.json"
    event.write_text(content)

    place = place_from(GITHUB | {"GITHUB_EVENT_PATH": str(event), "GITHUB_REF": "refs/heads/main"})

    assert place is not None
    assert place.number is None
