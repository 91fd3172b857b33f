"""The contact sheet: the same blocks side by side, and the picture of it."""

import io

import pytest
from PIL import Image

from teststrip import png
from teststrip.errors import ConfigError
from teststrip.evidence import sheet
from teststrip.evidence.numbers import Numbers


def test_a_contact_sheet_shows_best_median_worst_and_baseline_on_the_same_blocks(known):
    analysis, read_png = known
    ranking, table = analysis.ranking, analysis.table

    columns, rows = sheet.plan(analysis, read_png)

    assert [row.role for row in rows] == ["Best", "Median", "Worst", "Baseline"]
    for row, name in zip(
        rows, (ranking.best, ranking.median, ranking.worst, ranking.baseline), strict=True
    ):
        own = table[table["recipe_id"] == name].set_index(["prompt", "seed"])
        for cell, column in zip(row.cells, columns, strict=True):
            asked = png.read(cell.png).request
            assert (asked.block.prompt, asked.block.seed) == (column.prompt, column.seed)
            assert asked.recipe.recipe_id == name
            assert cell.score == own.loc[(column.prompt, column.seed), "clip@1"]


def test_a_contact_sheet_is_a_picture_with_the_pixels_in_their_places(known):
    analysis, read_png = known
    columns, rows = sheet.plan(analysis, read_png)

    data = sheet.contact_sheet(
        columns, rows, title="t", subtitle="s", numbers=analysis.ranking.numbers
    )

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    assert picture.width <= sheet.WIDTH
    colours = {colour for _, colour in picture.getcolors(maxcolors=2**24)}
    for row in rows:
        for cell in row.cells:
            assert tuple(int(c) for c in png.pixels(cell.png)[0, 0]) in colours


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one recipe"):
        sheet.contact_sheet((), (), title="", subtitle="", numbers=Numbers(3))


def test_a_broken_picture_is_named():
    row = sheet.Row("Best", ("a",), ("n",), (sheet.Cell(b"no png", 0.1),))

    with pytest.raises(ConfigError, match="not a PNG"):
        sheet.contact_sheet(
            (sheet.Column("p", 0),), (row,), title="", subtitle="", numbers=Numbers(3)
        )
