"""A note's text: a hidden marker, the report, links. What is too long is cut between two blocks.

The marker `<!-- teststrip:report <key> run:<n> -->` begins the text: `key` tells the reports of two
projects in one repository apart, `run` keeps an older pipeline from writing over a newer one.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from teststrip.errors import StudyError
from teststrip.project.forge.place import Place

LONGEST = {"gitlab": 1_000_000, "github": 65_536}
"""Letters of a note."""
LONGEST_SUMMARY = 1024 * 1024
"""Bytes of a step's summary on GitHub."""
MOST_PICTURES, LARGEST_PICTURE = 50, 10_000_000

_MARKER = re.compile(r"\s*<!-- teststrip:report ([0-9a-f]{12}) run:(\d{1,18}) -->")
_PICTURES = re.compile(r"<!-- teststrip:pictures((?: [0-9a-f]{64}=[^\s<>]+)+) -->\s*$")
_PICTURE = re.compile(r"(?<!\\)!\[((?:\\.|[^\[\]\\])*)\]\(([^()\s]+)\)")
_LINK = re.compile(r"(?<![!\\])\[((?:\\.|[^\[\]\\])*)\]\(([^()\s:#]+)\)")
_ACTION = re.compile(r"^(\s*(?:>\s*)*)/(?=[a-z])", re.IGNORECASE)
_KINDS = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff"}


@dataclass(frozen=True)
class Report:
    """What is to be posted. `pictures`: files that the text shows, by the name it gives them."""

    folder: Path
    text: str
    pictures: Mapping[str, Path]
    key: str

    @classmethod
    def read(cls, folder: Path, name: str = "") -> "Report":
        """report.md of `folder` and its pictures; `name` tells it from others of its merge request.

        Raises StudyError where a file is missing or is no picture.
        """
        file = folder / "report.md"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise StudyError(f"{file}: cannot be read, so nothing is posted: {exc}") from exc
        named = dict.fromkeys(found[2] for found in _PICTURE.finditer(text) if ":" not in found[2])
        if len(named) > MOST_PICTURES:
            raise StudyError(f"{file}: {len(named)} pictures; at most {MOST_PICTURES} are posted")
        pictures = {shown: _picture(folder, shown) for shown in named}
        key = hashlib.sha256(name.encode()).hexdigest()[:12]
        return cls(folder, text.replace("\r\n", "\n").strip(), pictures, key)


def _picture(folder: Path, name: str) -> Path:
    """A picture inside the folder: whatever else the text names does not leave this machine."""
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()) or file.suffix.lower() not in _KINDS:
        raise StudyError(f"{name}: only PNG and JPEG files below {folder} are posted")
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
        size = file.stat().st_size
    except OSError as exc:
        raise StudyError(f"{file}: a picture of the report cannot be read: {exc}") from exc
    if not start.startswith(_KINDS[file.suffix.lower()]) or size > LARGEST_PICTURE:
        raise StudyError(f"{file}: no PNG or JPEG of at most {LARGEST_PICTURE:,} bytes")
    return file


@dataclass(frozen=True)
class Marked:
    """What a note's marker says."""

    key: str
    run: int


def marked(body: str) -> Marked | None:
    """The marker that a note begins with."""
    found = _MARKER.match(body)
    return Marked(found[1], int(found[2])) if found else None


def kept_pictures(body: str) -> dict[str, str]:
    """Pictures that a note of ours shows already: their addresses by SHA-256."""
    found = _PICTURES.search(body)
    return dict(pair.split("=", 1) for pair in found[1].split()) if found else {}


def compose(
    report: Report, place: Place, addresses: Mapping[str, str], *, remember: Mapping[str, str]
) -> str:
    """The whole note. `addresses`: of the pictures by name; others become words with a link.

    `remember`: addresses by SHA-256, hidden at the end, so that a picture is sent once.
    """
    head = f"<!-- teststrip:report {report.key} run:{place.run} -->"
    text = linked(report, place, addresses)
    tail = _tail(report, place, text)
    if remember:
        pairs = " ".join(f"{digest}={at}" for digest, at in sorted(remember.items()))
        tail += f"\n\n<!-- teststrip:pictures {pairs} -->"
    room = LONGEST[place.forge] - len(head) - len(tail) - 4
    return f"{head}\n\n{cut(text, room)}\n\n{tail}"


def summary(report: Report, place: Place) -> str:
    """The report for a step's summary on GitHub: no pictures, for it shows none without address."""
    text = linked(report, place, {})
    tail = "\n\n" + _tail(report, place, text) + "\n"
    room = LONGEST_SUMMARY - len(tail.encode())
    return cut(text, room, lambda part: len(part.encode())) + tail


def linked(report: Report, place: Place, addresses: Mapping[str, str]) -> str:
    """The report's text with addresses for what it names by file."""

    def picture(found: re.Match[str]) -> str:
        alt, name = found[1], found[2]
        if name not in report.pictures:
            return found[0]
        if name in addresses:
            return f"![{alt}]({addresses[name]})"
        page = place.link(report.folder / name)
        return f"[Picture: {alt or name}]({page})" if page else f"(Picture: {alt or name})"

    def link(found: re.Match[str]) -> str:
        page = place.link(report.folder / found[2]) if _is_file(report.folder, found[2]) else ""
        return f"[{found[1]}]({page})" if page else found[1]

    return _inert(_PICTURE.sub(picture, _LINK.sub(link, report.text)))


def _inert(text: str) -> str:
    """No line is a quick action: GitLab would carry out `/merge` that begins a line of a note."""
    lines, fence = [], ""
    for line in text.split("\n"):
        fence = _fence(line, fence)
        lines.append(line if fence else _ACTION.sub(r"\1&#47;", line))
    return "\n".join(lines)


def _fence(line: str, fence: str) -> str:
    """The fence that is open after this line; empty: none."""
    bare = line.strip()
    if fence:
        return "" if bare == fence else fence
    return bare[:3] if bare.startswith(("```", "~~~")) else ""


def _is_file(folder: Path, name: str) -> bool:
    return not name.startswith("/") and (folder / name).is_file()


def _tail(report: Report, place: Place, text: str) -> str:
    """Who wrote it, and the whole report's address where the text has none or may lose it."""
    page = place.link(report.folder / "index.html")
    is_there = f"]({page})" in text and len(text.encode()) < LONGEST[place.forge] - 1000
    words = [f"[The whole report]({page})"] if page and not is_there else []
    if place.commit:
        words.append(f"commit {place.commit[:8]}")
    words.append("written by `teststrip project report`, brought up to date by each pipeline")
    return f"<sub>{' · '.join(words)}</sub>"


def cut(text: str, room: int, length: Callable[[str], int] = len) -> str:
    """As many whole blocks of Markdown as have room, and a line that says so where some have not.

    A block that is folded (`<details>`) or fenced is never opened and left open.
    """
    if length(text) <= room:
        return text
    said = "\n\n*Cut here: the rest is too long for this page and stands in the whole report.*"
    kept, left = [], room - length(said)
    for block in _blocks(text):
        left -= length(block) + 2
        if left < 0:
            break
        kept.append(block)
    return ("\n\n".join(kept) + said).strip()


def _blocks(text: str) -> Iterator[str]:
    """Parts between blank lines; a folded or a fenced part is one."""
    block: list[str] = []
    depth, fence = 0, ""
    for line in text.split("\n"):
        is_in, fence = bool(fence), _fence(line, fence)
        if not is_in and not fence:
            depth = max(depth + line.count("<details") - line.count("</details>"), 0)
        if not line.strip() and not fence and not depth:
            if block:
                yield "\n".join(block)
            block = []
        else:
            block.append(line)
    if block:
        yield "\n".join(block)
