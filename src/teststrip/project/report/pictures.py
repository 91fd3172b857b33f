"""The same prompts and seeds side by side: as one sheet (PNG), and as pictures for the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from teststrip.errors import TeststripError
from teststrip.evidence.numbers import Numbers, count
from teststrip.evidence.sheet import Cell, Column, Row, contact_sheet
from teststrip.evidence.thumbnails import data_uri
from teststrip.project.report.pairs import block
from teststrip.project.scores import CHECK, GALLERY
from teststrip.project.scores import Row as Shot

SIDE = 256
ON_SHEET, GALLERY_FIRST = 8, 4
ON_PAGE = 12
ReadPng = Callable[[str], bytes]


@dataclass(frozen=True)
class Side:
    """One arm of a comparison: `role` on the sheet, its pictures, how to read one of them."""

    role: str
    notes: tuple[str, ...]
    pictures: tuple[Shot, ...]
    read: ReadPng


@dataclass(frozen=True)
class Shown:
    """One block on the page: each side's picture (data URI, empty without), score or why not."""

    prompt: str
    seed: int
    is_check: bool
    cells: tuple[tuple[str, str, str], ...]  # role, data URI, words below


@dataclass(frozen=True)
class Sheet:
    """`png`: the contact sheet, None without a block; `missing`: pictures that nobody has."""

    png: bytes | None
    shown: tuple[Shown, ...]
    missing: tuple[str, ...]


def sheet(
    sides: Sequence[Side],
    score: str | None,
    *,
    title: str,
    subtitle: str,
    write: Numbers,
    higher_is_better: bool,
) -> Sheet:
    """The blocks that all sides have: the gallery's first, then each check prompt's first seed."""
    found = [{(p.set, *block(p)): p for p in side.pictures} for side in sides]
    common = [key for key in found[-1] if all(key in one for one in found)]
    gallery = [key for key in common if key[0] == GALLERY]
    check = _spread([key for key in common if key[0] == CHECK])
    chosen = [*gallery[: ON_PAGE // 3], *check][:ON_PAGE]
    on_sheet = gallery[: max(GALLERY_FIRST, ON_SHEET - len(check))]
    on_sheet = [*on_sheet, *check][:ON_SHEET]
    cells: list[dict[tuple[str, str, int], Cell]] = []
    missing = []
    for side, pictures in zip(sides, found, strict=True):
        own, why = _cells(side, pictures, dict.fromkeys([*chosen, *on_sheet]), score)
        cells.append(own)
        missing += why
    png = None
    if on_sheet:
        rows = [
            Row(side.role, (), side.notes, tuple(own[key] for key in on_sheet))
            for side, own in zip(sides, cells, strict=True)
        ]
        png = contact_sheet(
            [Column(prompt, seed) for _, prompt, seed in on_sheet],
            rows,
            title=title,
            subtitle=subtitle,
            numbers=write,
            higher_is_better=higher_is_better,
            accent=len(rows) - 1,
        )
    shown = tuple(
        Shown(
            prompt=key[1],
            seed=key[2],
            is_check=key[0] == CHECK,
            cells=tuple(
                _for_page(side.role, own[key], write)
                for side, own in zip(sides, cells, strict=True)
            ),
        )
        for key in chosen
    )
    return Sheet(png, shown, tuple(missing))


def _cells(
    side: Side,
    pictures: dict[tuple[str, str, int], Shot],
    wanted: dict[tuple[str, str, int], None],
    score: str | None,
) -> tuple[dict[tuple[str, str, int], Cell], list[str]]:
    """The wanted pictures of one side, read once each; and one line where some are missing."""
    from teststrip.png import pixels

    out, reasons = {}, []
    for key in wanted:
        picture = pictures[key]
        value = picture.scores.get(score, math.nan) if score else math.nan
        number = value if math.isfinite(value) else None
        try:
            data = side.read(picture.png)
            pixels(data)  # damaged pictures are found here, not in the middle of the sheet
            out[key] = Cell(data, number)
        except (TeststripError, OSError) as exc:
            reasons.append(str(exc))
            out[key] = Cell(None, number, "picture missing")
    lost = (
        [f"{side.role}: {count(len(reasons), 'picture')} missing. {reasons[0]}"] if reasons else []
    )
    return out, lost


def _for_page(role: str, cell: Cell, write: Numbers) -> tuple[str, str, str]:
    words = write.plain(cell.score) if cell.score is not None else ""
    if cell.png is None:
        return role, "", cell.note
    return role, data_uri(cell.png, SIDE), words


def _spread(keys: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Each prompt's first seed, then each prompt's second, and so on."""
    seen: dict[str, int] = {}
    turns = []
    for k, key in enumerate(keys):
        turns.append((seen.get(key[1], 0), k, key))
        seen[key[1]] = seen.get(key[1], 0) + 1
    return [key for _, _, key in sorted(turns, key=lambda turn: turn[:2])]
