"""Comments on GitHub, on a server that answers as GitHub does and whose commits are git's own."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from teststrip.errors import StorageError, StudyError
from teststrip.project.forge import Posted, place_from, post
from teststrip.project.forge.branch import NAME
from teststrip.project.forge.client import Refused
from teststrip.project.forge.patience import Patience
from teststrip.testing.forges import GitHub, Limited
from teststrip.testing.forges.github import BOT, Token

SOON = Patience(tries=3, first_s=0, longest_s=60, timeout_s=30)
COMMENTS = "/issues/1/comments"


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    server = GitHub(tmp_path / "github", pulls=(1, 2))
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report = tmp_path / "comparison"
    report.mkdir()
    picture(report, "red")
    (report / "index.html").write_text("<p>all of it")
    write(report, "# Better\n\n![Before and after](contact-sheet.png)")
    return report


def picture(folder: Path, colour: str) -> None:
    Image.new("RGB", (4, 4), colour).save(folder / "contact-sheet.png")


def write(folder: Path, text: str) -> None:
    (folder / "report.md").write_text(text)


def posted(github: GitHub, folder: Path, **given: Any) -> Posted:
    also = {name: given.pop(name) for name in ("wanted", "name") if name in given}
    place = place_from(github.variables(folder.parent, **given))
    return post(place, folder, patience=SOON, **also)


def summary(github: GitHub, run: int = 7000) -> str:
    return (github.commits.folder.parent / f"summary-{run}.md").read_text()


def may_write(github: GitHub) -> None:
    github.tokens["ghs_job"] = Token(contents="write")


def test_a_report_becomes_a_comment_and_the_steps_summary(github: GitHub, folder: Path) -> None:
    found = posted(github, folder)

    (comment,) = github.comments
    run = f"{github.web}/actions/runs/7000#artifacts"
    assert comment.author == BOT
    assert f"[Picture: Before and after]({run})" in comment.body
    assert found.url == f"{github.web}/pull/1#issuecomment-{comment.id}"
    assert summary(github).startswith("# Better\n\n[Picture: Before and after](")
    assert "teststrip:report" not in summary(github)
    assert str(found) == f"posted; it stands in the step's summary: {found.url}"


def test_pictures_are_kept_on_a_branch_where_the_token_may(github: GitHub, folder: Path) -> None:
    may_write(github)

    posted(github, folder)

    import httpx

    (comment,) = github.comments
    address = comment.body.partition("![Before and after](")[2].partition(")")[0]
    assert address.endswith(".png?raw=true")
    assert (
        httpx.get(address, trust_env=False).content == (folder / "contact-sheet.png").read_bytes()
    )
    assert "![" not in summary(github)


def test_the_next_run_brings_the_comment_up_to_date(github: GitHub, folder: Path) -> None:
    may_write(github)
    first = posted(github, folder, run=7000)
    github.says(3, "Looks good")
    write(folder, "# Worse\n\n![Before and after](contact-sheet.png)")
    picture(folder, "blue")

    found = posted(github, folder, run=7001)

    assert found.url == first.url
    assert [comment.author for comment in github.comments] == [BOT, 3]
    assert "# Worse" in github.comments[0].body
    assert len(github.commits.names(NAME)) == 1  # the picture of before is gone from the branch


def test_a_retried_job_makes_no_comment_and_no_commit(github: GitHub, folder: Path) -> None:
    may_write(github)
    first = posted(github, folder)
    head = github.commits.head(NAME)

    again = posted(github, folder)

    assert again.url == first.url
    assert len(github.comments) == 1
    assert github.commits.head(NAME) == head
    assert "says the same" in str(again)


def test_an_older_run_leaves_the_newer_report(github: GitHub, folder: Path) -> None:
    posted(github, folder, run=7001)
    write(folder, "# Old")

    assert "a newer pipeline's report is there" in str(posted(github, folder, run=7000))
    assert "# Better" in github.comments[0].body


def test_the_branch_holds_pictures_of_each_pull_request(github: GitHub, folder: Path) -> None:
    may_write(github)

    posted(github, folder, number=1)
    posted(github, folder, number=2)
    posted(github, folder, number=2, name="owl")

    names = github.commits.names(NAME)
    assert [name.partition("-")[0] for name in names] == ["1", "2", "2"]


def test_jobs_that_write_pictures_at_once_lose_none(github: GitHub, folder: Path) -> None:
    may_write(github)
    github.pulls |= {3, 4}
    together = threading.Barrier(4, timeout=60)
    waits = [True] * 4

    def fault(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/git/refs") and waits:
            waits.pop()
            together.wait()

    github.fault = fault
    jobs = [
        threading.Thread(
            target=posted, args=(github, folder), kwargs={"number": n, "run": 7000 + n}
        )
        for n in (1, 2, 3, 4)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()

    assert [name[0] for name in github.commits.names(NAME)] == ["1", "2", "3", "4"]
    assert sorted(comment.number for comment in github.comments) == [1, 2, 3, 4]


def test_others_comments_are_left_alone_whatever_they_say(github: GitHub, folder: Path) -> None:
    ours = posted(github, folder).body
    github.comments.clear()
    github.says(3, ours)

    posted(github, folder, run=7001)

    assert [comment.author for comment in github.comments] == [3, BOT]
    assert github.comments[0].body == ours


def test_a_persons_token_finds_the_persons_comment(github: GitHub, folder: Path) -> None:
    github.tokens["ghp_person"] = Token(user=17, is_app=False)
    for number in range(205):
        github.says(3, f"Comment {number}")

    posted(github, folder, token="ghp_person")
    posted(github, folder, token="ghp_person", run=7001)

    assert len(github.comments) == 206
    assert github.comments[-1].author == 17
    assert "run:7001" in github.comments[-1].body


@pytest.mark.parametrize("fault", ["lose", 502])
def test_a_lost_answer_makes_no_second_comment(
    github: GitHub, folder: Path, fault: str | int
) -> None:
    github.once(fault, "POST", COMMENTS)

    posted(github, folder)

    assert len(github.comments) == 1


def test_jobs_that_post_at_once_leave_one_comment(github: GitHub, folder: Path) -> None:
    together = threading.Barrier(3, timeout=60)
    waits = [True] * 3

    def fault(method: str, path: str) -> None:
        if method == "POST" and path.endswith(COMMENTS) and waits:
            waits.pop()
            together.wait()

    github.fault = fault
    jobs = [
        threading.Thread(target=posted, args=(github, folder), kwargs={"run": 7000 + k})
        for k in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()

    (comment,) = github.comments
    assert "run:7002" in comment.body


def test_a_forks_token_leaves_the_summary_and_no_error(github: GitHub, folder: Path) -> None:
    github.tokens["ghs_job"] = Token(issues="read")

    found = posted(github, folder, head="stranger/repo")

    assert "comes from a fork" in str(found)
    assert "stands in the step's summary" in str(found)
    assert "# Better" in summary(github)
    assert github.comments == []


def test_a_job_without_the_permission_says_which(github: GitHub, folder: Path) -> None:
    github.tokens["ghs_job"] = Token(issues="read")

    with pytest.raises(Refused, match=r"403.*permissions: pull-requests: write"):
        posted(github, folder)

    assert "# Better" in summary(github)


def test_a_wrong_token_is_an_error(github: GitHub, folder: Path) -> None:
    with pytest.raises(Refused, match=r"401.*GITHUB_TOKEN is wrong") as caught:
        posted(github, folder, token="ghs_other")

    assert "ghs_other" not in str(caught.value)


def test_without_token_or_pull_request_the_summary_is_written(github: GitHub, folder: Path) -> None:
    assert "GITHUB_TOKEN is not set" in str(posted(github, folder, token=""))
    assert "belongs to no merge request" in str(posted(github, folder, number=None, run=7001))
    with pytest.raises(StudyError, match="GITHUB_TOKEN is not set"):
        posted(github, folder, token="", run=7002, wanted=True)

    assert github.seen == []
    assert all("# Better" in summary(github, run) for run in (7000, 7001, 7002))


def test_a_rehearsal_writes_no_summary(github: GitHub, folder: Path) -> None:
    assert posted(github, folder, wanted=False).dry

    assert summary(github) == ""
    assert github.seen == []


@pytest.mark.parametrize(
    "limit",
    [
        Limited({"Retry-After": "0"}, 403, {"message": "You have exceeded a secondary rate limit"}),
        Limited({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, 403),
        Limited({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, 429),
    ],
)
def test_a_limit_is_no_missing_permission(github: GitHub, folder: Path, limit: Limited) -> None:
    github.once(limit, "POST", COMMENTS)

    posted(github, folder)

    assert len(github.comments) == 1


def test_a_limit_until_later_says_how_long(github: GitHub, folder: Path) -> None:
    reset = str(int(time.time()) + 1800)
    limit = Limited({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, 403)
    github.once(limit, "POST", "/graphql")

    with pytest.raises(Refused, match=r"asks to wait 1[78]"):
        posted(github, folder)


def test_a_secondary_limit_without_a_time_waits_a_minute(github: GitHub, folder: Path) -> None:
    said = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes"}
    github.once(Limited({}, 403, said), "POST", "/graphql")
    place = place_from(github.variables(folder.parent))

    with pytest.raises(Refused, match="asks to wait 60 s"):
        post(place, folder, patience=Patience(longest_s=59))


def test_a_comment_is_cut_to_what_github_takes(github: GitHub, folder: Path) -> None:
    write(folder, "# Better\n\n" + "\n\n".join(["word " * 20] * 2000))

    posted(github, folder)

    assert len(github.comments[0].body) <= 65_536
    assert "Cut here" in github.comments[0].body
    assert "Cut here" not in summary(github)


def test_a_summary_that_cannot_be_written(github: GitHub, folder: Path) -> None:
    variables = github.variables(folder.parent) | {"GITHUB_STEP_SUMMARY": str(folder)}

    with pytest.raises(StorageError, match="cannot be written"):
        post(place_from(variables), folder, patience=SOON)


@pytest.mark.parametrize("fault", ["cut", 502])
@pytest.mark.parametrize(
    ("method", "ending"),
    [
        ("POST", "/graphql"),
        ("GET", COMMENTS),
        ("POST", "/git/blobs"),
        ("POST", "/git/trees"),
        ("POST", "/git/commits"),
        ("POST", "/git/refs"),
        ("GET", f"/git/ref/heads/{NAME}"),
    ],
)
def test_a_bad_moment_of_the_server_is_waited_out(
    github: GitHub, folder: Path, fault: str | int, method: str, ending: str
) -> None:
    may_write(github)
    github.once(fault, method, ending)

    posted(github, folder)

    assert len(github.comments) == 1
    assert "![Before and after](" in github.comments[0].body


@pytest.mark.parametrize("status", [403, 422])
def test_a_rule_that_keeps_pictures_out_does_not_keep_the_comment_out(
    github: GitHub, folder: Path, status: int
) -> None:
    may_write(github)
    said = {"message": "Repository rule violations found"}
    rule = Limited({}, status, said)
    github.fault = lambda method, path: rule if path.endswith("/git/refs") else None

    posted(github, folder)

    assert "[Picture: Before and after](" in github.comments[0].body


def test_a_branch_made_by_a_lost_answer_is_used(github: GitHub, folder: Path) -> None:
    may_write(github)
    github.once("lose", "POST", "/git/refs")

    posted(github, folder)

    assert len(github.commits.names(NAME)) == 1
    assert github.commits.head(NAME) in github.comments[0].body
