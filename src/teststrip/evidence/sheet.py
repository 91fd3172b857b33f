"""The contact sheet: the same blocks side by side for best, median, worst and baseline."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from teststrip.errors import ConfigError, StorageError
from teststrip.evidence.answer import setting_words
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.lettering import fit, font, letters, wrap
from teststrip.evidence.numbers import Numbers, count
from teststrip.evidence.ranking import Ranked, Ranking

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

ReadPng = Callable[[str], bytes]
MOST_COLUMNS = 8
WIDTH = 1680
MARGIN, GUTTER, GAP = 56, 268, 14
PAPER, INK, SOFT, FAINT, ACCENT = "#ffffff", "#1b1b1a", "#6f6d68", "#e9e7e2", "#b3261e"


@dataclass(frozen=True)
class Cell:
    """One picture of the sheet; `png` is None where there is none, `note` says why."""

    png: bytes | None
    score: float | None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One recipe: what it is to the study, its settings, its mean, and a cell for each column."""

    role: str
    settings: tuple[str, ...]
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """One block."""

    prompt: str
    seed: int


def plan(analysis: "Analysis", read_png: ReadPng) -> tuple[tuple[Column, ...], tuple[Row, ...]]:
    """Choose blocks and recipes, and read their pictures.

    Blocks: those that all of the shown recipes were asked for, spread over prompts first (at most
    8). `read_png` gets the table's `png` and returns PNG bytes; where it raises StorageError or
    OSError, the cell says that the picture is missing.
    """
    table, facts, ranking, grid = (
        analysis.table,
        analysis.facts,
        analysis.ranking,
        analysis.grid,
    )
    roles = _roles(ranking)
    index = [grid.recipes.index(recipe_id) for _, recipe_id in roles]
    common = np.flatnonzero(grid.tried[index].all(axis=0))
    order = _spread([grid.blocks[b][0] for b in common])
    shown = [grid.blocks[common[k]] for k in order][:MOST_COLUMNS]
    rows = table[table["split"] == "search"]
    found = {
        (row["recipe_id"], row["prompt_id"], int(row["seed"])): row
        for row in rows[rows["recipe_id"].isin([i for _, i in roles])].to_dict("records")
    }
    columns = tuple(
        Column(str(found[roles[0][1], prompt_id, seed]["prompt"]), seed)
        for prompt_id, seed in shown
    )
    return columns, tuple(
        Row(
            role=role,
            settings=_settings(ranking.row(recipe_id)),
            notes=_notes(ranking.row(recipe_id), ranking),
            cells=tuple(_cell(found[(recipe_id, *block)], facts, read_png) for block in shown),
        )
        for role, recipe_id in roles
    )


def contact_sheet(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    title: str,
    subtitle: str,
    numbers: Numbers,
    higher_is_better: bool = True,
    accent: int = 0,
) -> bytes:
    """Draw the sheet; PNG bytes, sRGB, at most 1,680 px wide, as high as it needs to be.

    The best score of each column is in red, and so is the role of row `accent`.

    Small pictures are enlarged with Lanczos by a whole factor. Raises ConfigError without rows or
    columns, or where a picture cannot be read.
    """
    if not rows or not columns:
        raise ConfigError("contact sheet: at least one recipe and one block are needed")
    side = min(256, (WIDTH - 2 * MARGIN - GUTTER - GAP * (len(columns) - 1)) // len(columns))
    pictures = [[_fit(cell.png, side) for cell in row.cells] for row in rows]
    height = max((p.height for row in pictures for p in row if p), default=side)
    width = 2 * MARGIN + GUTTER + len(columns) * side + (len(columns) - 1) * GAP
    width = max(width, 900)
    caption = 34
    row_height = height + caption + 22
    top = MARGIN + 46 + 32 + 34 + 52
    sheet = Image.new("RGB", (width, top + row_height * len(rows) + MARGIN - 22), PAPER)
    draw = ImageDraw.Draw(sheet)
    room = width - 2 * MARGIN
    draw.text((MARGIN, MARGIN - 12), fit(title, 36, room), INK, font(title, 36))
    draw.text((MARGIN, MARGIN + 42), fit(subtitle, 19, room), SOFT, font(subtitle, 19))
    for j, column in enumerate(columns):
        x = MARGIN + GUTTER + j * (side + GAP)
        lines = wrap(column.prompt, 17, side, lines=2)
        for k, line in enumerate(lines):
            draw.text((x, top - 68 + 21 * (k + 2 - len(lines))), letters(line), INK, font(line, 17))
        draw.text((x, top - 25), f"seed {column.seed}", SOFT, font("", 15))
    for i, row in enumerate(rows):
        y = top + i * row_height
        if i:
            draw.line((MARGIN, y - 13, width - MARGIN, y - 13), FAINT, 1)
        _label(draw, row, y, accent=i == accent)
        for j, (cell, picture) in enumerate(zip(row.cells, pictures[i], strict=True)):
            x = MARGIN + GUTTER + j * (side + GAP)
            if picture is None:
                draw.rectangle((x, y, x + side - 1, y + height - 1), FAINT)
                lines = wrap(cell.note or "no picture", 15, side - 24, lines=3)
                for k, line in enumerate(lines):
                    draw.text((x + 12, y + 12 + 20 * k), letters(line), SOFT, font(line, 15))
            else:
                sheet.paste(picture, (x, y))
            if cell.score is not None:
                best = is_best(rows, j, cell.score, higher_is_better)
                text = numbers.plain(cell.score)
                draw.text(
                    (x, y + height + 8), letters(text), ACCENT if best else SOFT, font("", 17)
                )
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def _label(draw: ImageDraw.ImageDraw, row: Row, y: int, accent: bool) -> None:
    room = GUTTER - 28
    draw.text((MARGIN, y - 3), row.role, ACCENT if accent else INK, font(row.role, 25))
    at = y + 36
    for setting in row.settings[:5]:
        draw.text((MARGIN, at), fit(setting, 17, room), INK, font(setting, 17))
        at += 23
    at += 6
    for note in row.notes:
        draw.text((MARGIN, at), fit(note, 15, room), SOFT, font(note, 15))
        at += 20


def is_best(rows: Sequence[Row], column: int, score: float, higher: bool) -> bool:
    """No other score of the column is as good."""
    known = [s for s in (r.cells[column].score for r in rows) if s is not None]
    return len(known) > 1 and score == (max if higher else min)(known) and known.count(score) == 1


def _fit(png: bytes | None, side: int) -> Image.Image | None:
    """The picture, `side` px wide, its own shape kept."""
    if png is None:
        return None
    from teststrip.png import pixels

    picture = Image.fromarray(pixels(png))
    height = max(1, round(picture.height * side / picture.width))
    return picture.resize((side, height), Image.Resampling.LANCZOS)


def _roles(ranking: Ranking) -> list[tuple[str, str]]:
    """Best, median, worst, baseline: each recipe once, its first role first."""
    roles: list[tuple[str, str]] = []
    named = [
        ("Best", ranking.best),
        ("Median", ranking.median),
        ("Worst", ranking.worst),
        ("Baseline", ranking.baseline),
    ]
    for role, recipe_id in named:
        place = next((k for k, (_, known) in enumerate(roles) if known == recipe_id), None)
        if recipe_id is None:
            continue
        if place is None:
            roles.append((role, recipe_id))
        else:
            roles[place] = (f"{roles[place][0]} = {role.lower()}", recipe_id)
    return roles


def _spread(prompts: Sequence[str]) -> list[int]:
    """Each prompt's first block, then each prompt's second, and so on."""
    seen: dict[str, int] = {}
    turn = []
    for k, prompt in enumerate(prompts):
        turn.append((seen.get(prompt, 0), k))
        seen[prompt] = seen.get(prompt, 0) + 1
    return [k for _, k in sorted(turn)]


def _settings(row: Ranked) -> tuple[str, ...]:
    return setting_words(row) or (f"recipe {row.recipe_id}",)


def _notes(row: Ranked, ranking: Ranking) -> tuple[str, ...]:
    write, gain = ranking.numbers, row.gain
    images = count(row.images, "image")
    if row.recipe_id == ranking.reference or not gain.units:
        return (f"mean {write.plain(row.mean.mean)} {write.half(row.mean)}".rstrip(), images)
    against = "baseline" if ranking.baseline else "leader"
    span = (f"{write.span(gain, signed=True)}",) if gain.known else ()
    return (f"{write.signed(gain.mean)} to {against}", *span, images)


def _cell(row: dict[str, object], facts: StudyFacts, read_png: ReadPng) -> Cell:
    value = row[facts.objective]
    score = float(value) if isinstance(value, int | float) and np.isfinite(value) else None
    if row["status"] != "ok":
        return Cell(None, None, f"failed: {row['reason']}" if row["reason"] else "failed")
    if not row["png"]:
        return Cell(None, score, "no picture in the table")
    try:
        return Cell(read_png(str(row["png"])), score)
    except (StorageError, OSError):
        return Cell(None, score, "picture missing")
