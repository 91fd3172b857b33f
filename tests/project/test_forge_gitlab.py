"""Notes on GitLab, on a server that answers as GitLab does."""

import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from teststrip.errors import StorageError, StudyError
from teststrip.project.forge import Posted, place_from, post
from teststrip.project.forge.client import Refused
from teststrip.project.forge.patience import Patience
from teststrip.testing.forges import GitLab, Limited
from teststrip.testing.forges.gitlab import Token

SOON = Patience(tries=3, first_s=0, longest_s=60, timeout_s=30)
NOTES = "/merge_requests/1/notes"
Post = Callable[..., Posted]


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    server = GitLab(merge_requests=(1, 2))
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report = tmp_path / "comparison"
    report.mkdir()
    Image.new("RGB", (4, 4), "red").save(report / "contact-sheet.png")
    (report / "index.html").write_text("<p>all of it")
    write(report, "# Better\n\n![Before and after](contact-sheet.png)")
    return report


def write(folder: Path, text: str) -> None:
    (folder / "report.md").write_text(text)


def posted(gitlab: GitLab, folder: Path, **given: Any) -> Posted:
    also = {name: given.pop(name) for name in ("wanted", "name") if name in given}
    variables = gitlab.variables(folder.parent, **given)
    return post(place_from(variables), folder, patience=SOON, **also)


def test_a_report_becomes_a_note_with_its_picture(gitlab: GitLab, folder: Path) -> None:
    found = posted(gitlab, folder)

    (note,) = gitlab.notes[1]
    ((address, content),) = gitlab.uploads.items()
    assert note.author == 901
    assert f"![Before and after]({address})" in note.body
    assert content == (folder / "contact-sheet.png").read_bytes()
    assert "/-/jobs/1001/artifacts/file/comparison/index.html" in note.body
    assert found.url == f"{gitlab.web}/-/merge_requests/1#note_{note.id}"
    assert str(found) == f"posted: {found.url}"


def test_the_next_pipeline_brings_the_same_note_up_to_date(gitlab: GitLab, folder: Path) -> None:
    first = posted(gitlab, folder, pipeline=100)
    gitlab.says(3, "Looks good")
    write(folder, "# Worse\n\n![Before and after](contact-sheet.png)")

    found = posted(gitlab, folder, pipeline=101)

    assert found.url == first.url
    assert "up to date" in str(found)
    assert [note.body for note in gitlab.notes[1]][1:] == ["Looks good"]
    assert "# Worse" in gitlab.notes[1][0].body
    assert len(gitlab.uploads) == 1  # the same picture is sent once


def test_a_new_picture_is_sent(gitlab: GitLab, folder: Path) -> None:
    posted(gitlab, folder)
    Image.new("RGB", (4, 4), "blue").save(folder / "contact-sheet.png")

    posted(gitlab, folder)

    assert len(gitlab.uploads) == 2
    assert list(gitlab.uploads)[1] in gitlab.notes[1][0].body


def test_a_retried_job_changes_nothing(gitlab: GitLab, folder: Path) -> None:
    first = posted(gitlab, folder)

    again = posted(gitlab, folder)

    assert again.url == first.url
    assert "says the same" in str(again)
    assert not gitlab.calls("PUT", "")
    assert len(gitlab.notes[1]) == 1


def test_an_older_pipeline_that_ends_late_leaves_the_newer_report(
    gitlab: GitLab, folder: Path
) -> None:
    posted(gitlab, folder, pipeline=101)
    write(folder, "# Old")

    found = posted(gitlab, folder, pipeline=100)

    assert "a newer pipeline's report is there" in str(found)
    assert "# Better" in gitlab.notes[1][0].body


def test_two_projects_in_one_repository_have_a_note_each(gitlab: GitLab, folder: Path) -> None:
    posted(gitlab, folder, name="owl")
    posted(gitlab, folder, name="fox")
    posted(gitlab, folder, name="owl")

    assert len(gitlab.notes[1]) == 2


def test_merge_requests_have_a_note_each(gitlab: GitLab, folder: Path) -> None:
    posted(gitlab, folder, number=1)
    posted(gitlab, folder, number=2)

    assert [len(gitlab.notes[number]) for number in (1, 2)] == [1, 1]


def test_others_notes_are_left_alone_whatever_they_say(gitlab: GitLab, folder: Path) -> None:
    ours = posted(gitlab, folder).body
    gitlab.notes[1].clear()
    copied = gitlab.says(3, ours)
    system = gitlab.says(901, ours, system=True)
    quoting = gitlab.says(901, f"> {ours}")

    posted(gitlab, folder)

    assert [note.body for note in gitlab.notes[1][:3]] == [ours, ours, f"> {ours}"]
    assert [note.id for note in gitlab.notes[1][:3]] == [copied.id, system.id, quoting.id]
    assert len(gitlab.notes[1]) == 4


def test_our_note_is_found_behind_hundreds_of_others(gitlab: GitLab, folder: Path) -> None:
    for number in range(205):
        gitlab.says(3, f"Note {number}")
    posted(gitlab, folder)
    for number in range(205):
        gitlab.says(3, f"Later {number}")

    posted(gitlab, folder)

    assert len(gitlab.notes[1]) == 411
    assert not [ask for ask in gitlab.calls("GET", NOTES) if ask.query["per_page"] != "100"]


def test_a_report_carries_out_no_quick_action(gitlab: GitLab, folder: Path) -> None:
    write(folder, "# Better\n\n/merge\n\n- a\n/label ~bug\n\n```\n/close\n```")

    posted(gitlab, folder)

    assert gitlab.notes[1]
    assert gitlab.commands == []


def test_jobs_that_post_at_once_leave_one_note(gitlab: GitLab, folder: Path) -> None:
    many = 4
    together = threading.Barrier(many, timeout=60)
    waits = [True] * many

    def fault(method: str, path: str) -> None:
        if method == "POST" and path.endswith(NOTES) and waits:
            waits.pop()
            together.wait()  # none has looked again before all have seen that there is no note

    gitlab.fault = fault
    jobs = [
        threading.Thread(target=posted, args=(gitlab, folder), kwargs={"pipeline": 100 + k})
        for k in range(many)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()

    (note,) = gitlab.notes[1]
    assert len(gitlab.calls("POST", NOTES)) == many
    assert f"run:{100 + many - 1} -->" in note.body


def test_notes_that_are_too_many_become_one(gitlab: GitLab, folder: Path) -> None:
    ours = posted(gitlab, folder).body
    gitlab.says(901, ours)
    gitlab.says(901, ours)

    posted(gitlab, folder, pipeline=200)

    (note,) = gitlab.notes[1]
    assert "run:200" in note.body


@pytest.mark.parametrize(("fault", "asked"), [("lose", 1), (502, 2)])
def test_a_lost_answer_makes_no_second_note(
    gitlab: GitLab, folder: Path, fault: str | int, asked: int
) -> None:
    gitlab.once(fault, "POST", NOTES)

    found = posted(gitlab, folder)

    (note,) = gitlab.notes[1]
    assert found.url.endswith(f"#note_{note.id}")
    assert str(found).startswith("posted: ")
    assert len(gitlab.calls("POST", NOTES)) == asked  # it is looked for before it is made again


@pytest.mark.parametrize("fault", ["cut", "lose", 500, 503])
@pytest.mark.parametrize(
    ("method", "ending"),
    [("GET", "/user"), ("GET", NOTES), ("POST", "/uploads"), ("POST", NOTES), ("PUT", "/1")],
)
def test_a_bad_moment_of_the_server_is_waited_out(
    gitlab: GitLab, folder: Path, fault: str | int, method: str, ending: str
) -> None:
    posted(gitlab, folder) if method == "PUT" else None
    Image.new("RGB", (4, 4), "blue").save(folder / "contact-sheet.png")
    gitlab.once(fault, method, ending)

    posted(gitlab, folder)

    assert len(gitlab.notes[1]) == 1


@pytest.mark.parametrize("after", ["0", "date"])
def test_a_limit_is_waited_out_for_as_long_as_it_says(
    gitlab: GitLab, folder: Path, after: str
) -> None:
    headers = {"Retry-After": formatdate(usegmt=True) if after == "date" else after}
    gitlab.once(Limited(headers), "POST", NOTES, times=2)

    posted(gitlab, folder)

    assert len(gitlab.notes[1]) == 1
    assert len(gitlab.calls("POST", NOTES)) == 3


def test_a_limit_that_lasts_too_long_is_an_error(gitlab: GitLab, folder: Path) -> None:
    gitlab.once(Limited({"Retry-After": "3600"}), "POST", NOTES)

    with pytest.raises(Refused, match="asks to wait 3600 s"):
        posted(gitlab, folder)


def test_a_server_that_stays_broken_is_given_up(gitlab: GitLab, folder: Path) -> None:
    gitlab.fault = lambda method, path: 500

    with pytest.raises(StorageError, match=r"no answer after 3 tries; HTTP 500.*run the job again"):
        posted(gitlab, folder)


def test_nobody_listens(gitlab: GitLab, folder: Path) -> None:
    gitlab.close()

    with pytest.raises(StorageError, match="ConnectError"):
        posted(gitlab, folder)


def test_a_redirect_is_not_followed_with_the_token(gitlab: GitLab, folder: Path) -> None:
    other = GitLab()
    to = Limited({"Location": f"{other.api}/user"}, status=307)
    gitlab.once(to, "GET", "/user")

    with pytest.raises(Refused, match="a redirect, which is not followed"):
        posted(gitlab, folder)

    assert other.seen == []
    other.close()


@pytest.mark.parametrize(
    ("token", "advice"),
    [
        (None, "401.*wrong, expired or revoked"),
        (Token(901, scopes=frozenset({"read_api"})), "403.*role Reporter and the scope api"),
        (Token(901, role=10), "403.*role Reporter and the scope api"),
        (Token(901, role=0), "404.*may not see the project"),
    ],
)
def test_a_token_without_rights_says_what_it_needs(
    gitlab: GitLab, folder: Path, token: Token | None, advice: str
) -> None:
    if token:
        gitlab.tokens["glpat-weak"] = token

    with pytest.raises(Refused, match=advice) as caught:
        posted(gitlab, folder, token="glpat-weak")

    assert gitlab.notes[1] == []
    assert "glpat-weak" not in str(caught.value)


def test_the_token_that_a_server_echoes_is_struck_out(gitlab: GitLab, folder: Path) -> None:
    gitlab.once(Limited({}, 400, {"message": "bad glpat-reports"}), "GET", "/user")

    with pytest.raises(Refused, match=r"bad \*\*\*"):
        posted(gitlab, folder)


def test_the_job_token_is_not_even_sent(gitlab: GitLab, folder: Path) -> None:
    token = gitlab.variables(folder)["CI_JOB_TOKEN"]

    assert "may not write notes" in str(posted(gitlab, folder, token=token))
    with pytest.raises(StudyError, match="may not write notes"):
        posted(gitlab, folder, token=token, wanted=True)
    assert gitlab.seen == []


def test_a_job_token_would_not_do(gitlab: GitLab, folder: Path) -> None:
    variables = gitlab.variables(folder.parent)
    variables["TESTSTRIP_GITLAB_TOKEN"] = "x" + variables["CI_JOB_TOKEN"]

    with pytest.raises(Refused, match="401"):
        post(place_from(variables), folder, patience=SOON)


def test_without_token_the_job_goes_on(gitlab: GitLab, folder: Path) -> None:
    found = posted(gitlab, folder, token="")

    assert "TESTSTRIP_GITLAB_TOKEN is not set" in str(found)
    assert gitlab.seen == []


def test_a_rehearsal_asks_nobody(gitlab: GitLab, folder: Path) -> None:
    found = posted(gitlab, folder, wanted=False)

    assert found.dry
    assert "# Better" in found.body
    assert gitlab.seen == []


def test_an_answer_that_is_no_json_is_no_answer(gitlab: GitLab, folder: Path) -> None:
    gitlab.fault = lambda method, path: (
        Limited({}, 200, b"<html>log in") if method == "GET" else None
    )

    with pytest.raises(StorageError, match="no JSON"):
        posted(gitlab, folder)


@pytest.mark.parametrize("data", [{}, [], "text", 3, None, {"id": None}, [{"author": 3}]])
@pytest.mark.parametrize("ending", ["/user", NOTES, "/uploads"])
def test_an_answer_in_another_form_is_an_error_with_words(
    gitlab: GitLab, folder: Path, ending: str, data: Any
) -> None:
    other = Limited({}, 200, data)
    gitlab.fault = lambda method, path: other if path.endswith(ending) else None

    with pytest.raises(StorageError, match=r"another form|has the address") as caught:
        posted(gitlab, folder)

    assert gitlab.notes[1] == []
    assert "glpat-reports" not in str(caught.value)


def test_a_note_that_somebody_removes_meanwhile_is_made_again(gitlab: GitLab, folder: Path) -> None:
    posted(gitlab, folder)

    def fault(method: str, path: str) -> None:
        if method == "PUT":
            gitlab.notes[1].clear()

    gitlab.fault = fault
    posted(gitlab, folder, pipeline=200)

    (note,) = gitlab.notes[1]
    assert "run:200" in note.body
