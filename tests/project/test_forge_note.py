"""A note's text: marker, pictures, links, and what happens where it is too long."""

import re
from pathlib import Path

import pytest
from PIL import Image

from teststrip.errors import ConfigError, StudyError
from teststrip.project.forge import note, place_from, post
from teststrip.project.forge.place import Place

PLACE = Place(
    forge="gitlab",
    api="https://gitlab.example.org/api/v4",
    project="5",
    number=7,
    run=42,
    web="https://gitlab.example.org/group/project",
    job="https://gitlab.example.org/group/project/-/jobs/9",
    checkout=Path("/builds"),
)


def written(folder: Path, text: str, *pictures: str) -> Path:
    for name in ("sheet.png", *pictures):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return folder


def test_a_report_with_its_picture_and_its_page(tmp_path: Path) -> None:
    text = "# Better\n\n![Before, after](sheet.png)\n\nSee [all of it](index.html)."
    report = note.Report.read(written(tmp_path, text))
    (tmp_path / "index.html").touch()
    place = Place(**{**vars(PLACE), "checkout": tmp_path.parent})

    body = note.compose(report, place, {"sheet.png": "/uploads/1/sheet.png"}, remember={})

    page = f"{place.job}/artifacts/file/{tmp_path.name}/index.html"
    assert body.startswith("<!-- teststrip:report e3b0c44298fc run:42 -->\n\n# Better\n\n")
    assert "![Before, after](/uploads/1/sheet.png)" in body
    assert f"[all of it]({page})" in body
    assert body.count(page) == 1


def test_a_picture_without_address_becomes_words(tmp_path: Path) -> None:
    report = note.Report.read(written(tmp_path, "![Before, after](sheet.png) [x](gone.html)"))

    assert note.linked(report, PLACE, {}) == "(Picture: Before, after) x"


def test_what_a_user_typed_is_no_link_of_ours(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    typed = r"\[a\](index.html) !\[b\](sheet.png) \![c\](sheet.png)"
    report = note.Report.read(written(tmp_path, typed))

    assert not report.pictures
    assert note.linked(report, PLACE, {"sheet.png": "/uploads/1/sheet.png"}) == typed


def test_what_a_note_remembers_is_read_back(tmp_path: Path) -> None:
    report = note.Report.read(written(tmp_path, "![a](sheet.png)"), "styles/owl")
    known = {"a" * 64: "/uploads/1/a.png", "b" * 64: "/uploads/2/b.png"}

    body = note.compose(report, PLACE, {}, remember=known)

    assert note.kept_pictures(body) == known
    assert note.kept_pictures(body + "\nmore") == {}
    assert note.marked(body) == note.Marked(report.key, 42)
    assert note.marked(f"> {body}") is None
    assert report.key != note.Report.read(tmp_path).key


@pytest.mark.parametrize("line", ["/merge", "  /close", "> /label ~bug", "/Approve\r\nmore"])
def test_no_line_is_a_quick_action(tmp_path: Path, line: str) -> None:
    report = note.Report.read(written(tmp_path, f"# Better\n\n{line}\n\n```\n/merge\n```\n"))

    text = note.linked(report, PLACE, {})

    assert "\n```\n/merge\n```" in text
    assert len(re.findall(r"^[\s>]*/[a-zA-Z]", text, re.MULTILINE)) == 1  # the one in the fence
    assert "&#47;" in text


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "sheet.svg", "gone.png"])
def test_a_picture_that_is_not_of_the_report_stays_here(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "report", f"![x]({name})", "../secret.png")

    with pytest.raises(StudyError):
        note.Report.read(folder)


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = written(tmp_path / "report", "![x](key.png)")
    (tmp_path / "key").write_text("secret")
    (folder / "key.png").symlink_to(tmp_path / "key")

    with pytest.raises(StudyError, match="only PNG and JPEG files below"):
        note.Report.read(folder)


def test_a_file_that_is_only_called_a_picture_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, "![x](key.png)")
    (folder / "key.png").write_text("secret")

    with pytest.raises(StudyError, match="no PNG or JPEG"):
        note.Report.read(folder)


def test_pictures_elsewhere_are_left_as_they_are(tmp_path: Path) -> None:
    text = "![x](https://example.org/x.png)"
    report = note.Report.read(written(tmp_path, text))

    assert not report.pictures
    assert note.linked(report, PLACE, {}) == text


def test_too_many_pictures_are_refused(tmp_path: Path) -> None:
    text = "\n".join(f"![x]({n}.png)" for n in range(51))

    with pytest.raises(StudyError, match="51 pictures; at most 50"):
        note.Report.read(written(tmp_path, text))


def test_no_report_no_note(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"report\.md: cannot be read, so nothing is posted"):
        note.Report.read(tmp_path)


@pytest.mark.parametrize("forge", ["gitlab", "github"])
def test_a_long_report_is_cut_to_the_forges_limit(tmp_path: Path, forge: str) -> None:
    folded = f"<details><summary>x</summary>\n\n| a |\n| --- |\n\n{'x' * 120}\n\n</details>"
    text = "# Better\n\n" + "\n\n".join(f"{folded} {n}" for n in range(6000))
    text += "\n\n[index.html](index.html)"
    (tmp_path / "index.html").touch()
    place = Place(**{**vars(PLACE), "forge": forge, "checkout": tmp_path})

    body = note.compose(note.Report.read(written(tmp_path, text)), place, {}, remember={})

    limit = note.LONGEST[forge]
    assert limit - 300 < len(body) <= limit
    assert body.startswith("<!-- teststrip:report")
    assert "# Better" in body
    assert "Cut here" in body
    assert "[The whole report](https://gitlab.example.org/" in body
    assert body.count("<details") == body.count("</details")
    assert body.endswith("</sub>")


def test_a_summary_is_cut_by_its_bytes(tmp_path: Path) -> None:
    text = "\n\n".join(["ä" * 99] * 9000)

    said = note.summary(note.Report.read(written(tmp_path, text)), PLACE)

    assert 1024 * 1024 - 400 < len(said.encode()) <= 1024 * 1024


def test_a_fence_is_cut_as_a_whole() -> None:
    fence = "```\na\n\n" + "b\n\n" * 40 + "```"

    assert note.cut(f"begin\n\n{fence}\n\nend", 120).startswith("begin\n\n*Cut here")
    assert note.cut(f"begin\n\n{fence}\n\nend", 300) == f"begin\n\n{fence}\n\nend"


def test_one_block_that_is_too_long_leaves_the_line_alone() -> None:
    assert note.cut("x" * 500, 200).startswith("*Cut here")


def test_a_rehearsal_outside_ci_shows_the_whole_note(tmp_path: Path) -> None:
    found = post(None, written(tmp_path, "# Better\n\n![x](sheet.png)"))

    assert found.dry
    assert found.pictures == ("sheet.png",)
    assert found.as_dict()["url"] is None
    assert "nothing was posted" in str(found)
    assert "# Better\n\n![x](sheet.png)" in str(found)


def test_posting_outside_ci_is_an_error_where_it_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="--post: this is no job"):
        post(None, written(tmp_path, "# Better"), wanted=True)


def test_without_merge_request_nothing_is_posted(tmp_path: Path) -> None:
    place = Place(**{**vars(PLACE), "number": None, "token": "glpat-1"})
    folder = written(tmp_path, "# Better")

    assert "belongs to no merge request" in str(post(place, folder))
    with pytest.raises(StudyError, match="belongs to no merge request"):
        post(place, folder, wanted=True)


def test_a_certificate_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    place = place_from(
        {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": "https://gitlab.example.org/api/v4",
            "CI_PROJECT_ID": "5",
            "CI_MERGE_REQUEST_IID": "7",
            "TESTSTRIP_GITLAB_TOKEN": "glpat-1",
            "CI_SERVER_TLS_CA_FILE": str(tmp_path / "ca.pem"),
        }
    )

    with pytest.raises(ConfigError, match="no file of certificates"):
        post(place, written(tmp_path, "# Better"))
