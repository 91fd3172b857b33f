"""Cells, matched images and orders, against the same numbers reckoned by pandas and scipy."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from teststrip.errors import ConfigError
from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import build as building
from teststrip.studio.wall import query
from teststrip.studio.wall.axes import axis_of
from teststrip.studio.wall.build import Shown, Wall, build
from teststrip.studio.wall.defaults import first_view
from teststrip.studio.wall.view import View, parse

SCORE = "synthetic@1"


@pytest.fixture(scope="module")
def place(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colours study with three failed images and a continuous setting."""
    home = tmp_path_factory.mktemp("wall") / "data"
    shutil.copytree(made_home, home)
    file = home / "studies" / "colours" / "images.parquet"
    table = pd.read_parquet(file)
    table["param.grain"] = [float(int(r, 16) % 1000) / 997 for r in table["recipe_id"].str[:6]]
    failed = table.index[[1, 7, 40]]
    table.loc[failed, "status"] = "failed"
    table.loc[failed, "reason"] = "out of memory"
    table.loc[failed, [c for c in table if "@" in c]] = float("nan")
    table.to_parquet(file)
    return home


@pytest.fixture(scope="module")
def index(place: Path) -> Index:
    made = Index(None)
    made.refresh(place)
    return made


@pytest.fixture(scope="module")
def entry(index: Index) -> Entry:
    return index.entry("colours")


@pytest.fixture(scope="module")
def frame(place: Path) -> pd.DataFrame:
    return pd.read_parquet(place / "studies" / "colours" / "images.parquet")


def seen(entry: Entry, *pairs: tuple[str, str]) -> View:
    return parse([("study", entry.name), ("score", SCORE), *pairs], entry)


def cell_of(wall: Wall, x: str, y: str) -> dict[str, Any]:
    column = next(i for i, (_, v) in enumerate(wall.columns) if v and v.key == x)
    row = next(i for i, (_, v) in enumerate(wall.rows) if v and v.key == y)
    return wall.cells[row, column]


def test_a_cell_is_the_mean_of_prompt_means_with_students_interval(
    entry: Entry, index: Index, frame: pd.DataFrame
) -> None:
    wall = build(seen(entry, ("x", "recipe.steps"), ("y", "recipe.scheduler")), entry, index)

    for (steps, scheduler), some in frame.groupby(["recipe.steps", "recipe.scheduler"]):
        cell = cell_of(wall, str(int(steps)), scheduler)
        means = some.groupby("prompt_id")[SCORE].mean().dropna()
        half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
        assert cell["total"] == len(some)
        assert cell["failed"] == (some["status"] != "ok").sum()
        assert cell["images"] == some[SCORE].notna().sum()
        assert cell["prompts"] == len(means)
        assert cell["mean"] == pytest.approx(means.mean())
        assert cell["low"] == pytest.approx(means.mean() - half)
        assert cell["high"] == pytest.approx(means.mean() + half)


def test_without_shared_blocks_a_cell_has_its_first_images(
    entry: Entry, index: Index, frame: pd.DataFrame
) -> None:
    alone = replace(entry, paired=False)
    wall = build(seen(alone, ("x", "recipe.steps")), alone, index)

    shown = [Shown(*s).key for s in cell_of_column(wall, "10")["images_shown"]]
    made = frame[(frame["recipe.steps"] == 10) & (frame["status"] == "ok")]
    assert shown == list(made["image_key"].head(4))


def cell_of_column(wall: Wall, x: str) -> dict[str, Any]:
    column = next(i for i, (_, v) in enumerate(wall.columns) if v and v.key == x)
    return wall.cells[0, column]


def test_one_prompt_has_no_interval(entry: Entry, index: Index) -> None:
    wall = build(seen(entry, ("x", "prompt"), ("y", "recipe.steps")), entry, index)

    assert {cell["prompts"] for cell in wall.cells.values()} == {1}
    assert all(cell["low"] is None and cell["high"] is None for cell in wall.cells.values())


def test_a_slot_is_one_prompt_and_seed_in_every_cell(entry: Entry, index: Index) -> None:
    view = seen(entry, ("x", "recipe.steps"), ("y", "recipe.scheduler"), ("f.split", "search"))
    wall = build(view, entry, index)

    blocks: dict[int, set[tuple[str, int]]] = {}
    for cell in wall.cells.values():
        for shown in map(Shown._make, cell["images_shown"]):
            blocks.setdefault(shown.slot, set()).add((shown.prompt_id, shown.seed))
    assert set(blocks) == {1, 2, 3, 4}
    assert all(len(some) == 1 for some in blocks.values())
    assert len({prompt for some in blocks.values() for prompt, _ in some}) == 4


def test_the_image_shown_is_the_middle_one_of_the_hidden_settings(
    entry: Entry, index: Index, frame: pd.DataFrame
) -> None:
    wall = build(seen(entry, ("x", "recipe.steps"), ("per", "1")), entry, index)

    for (row, column), cell in wall.cells.items():
        shown = Shown(*cell["images_shown"][0])
        steps = int(wall.columns[column][1].key)  # type: ignore[union-attr]
        some = frame[
            (frame["recipe.steps"] == steps)
            & (frame["prompt_id"] == shown.prompt_id)
            & (frame["seed"] == shown.seed)
            & (frame["status"] == "ok")
        ]
        scores = sorted(some[SCORE])
        assert row == 0
        assert shown.among == len(some)
        assert shown.s == pytest.approx(scores[(len(scores) + 1) // 2 - 1])


def test_with_prompts_as_columns_each_column_has_its_own_slots(entry: Entry, index: Index) -> None:
    wall = build(seen(entry, ("x", "prompt"), ("y", "recipe.steps")), entry, index)

    for (_, column), cell in wall.cells.items():
        prompt = wall.columns[column][1].key  # type: ignore[union-attr]
        assert cell["images_shown"]
        assert {Shown(*some).prompt_id for some in cell["images_shown"]} == {prompt}


def test_an_image_with_two_tags_is_in_both_lines(
    entry: Entry, index: Index, frame: pd.DataFrame
) -> None:
    wall = build(seen(entry, ("y", "tag")), entry, index)

    tags = frame["tags"].str.split(";").explode().value_counts()
    found = {wall.rows[r][1].key: c["total"] for (r, _), c in wall.cells.items()}  # type: ignore[union-attr]
    assert found == tags.to_dict()


def test_a_cells_filter_gives_its_images(entry: Entry, index: Index) -> None:
    axes = (("x", "param.grain"), ("y", "tag"), ("x2", "seed"), ("y2", "split"))
    wall = build(seen(entry, *axes), entry, index)

    for (row, column), cell in wall.cells.items():
        values = [v for v in (*wall.columns[column], *wall.rows[row]) if v]
        view = seen(entry, *[pair for value in values for pair in value.filter])
        asked = query.counts(view, entry, index.table("colours"))
        assert index.query(asked.sql, asked.values)[0]["total"] == cell["total"]


def test_a_continuous_setting_is_cut_into_ranges_that_filters_do_not_move(
    entry: Entry, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teststrip.studio.wall import axes

    monkeypatch.setattr(axes, "MOST_STEPS", 5)
    monkeypatch.setattr(axes, "BINS", 3)

    axis = axis_of("param.grain", entry, index)
    whole = build(seen(entry, ("x", "param.grain")), entry, index)
    part = build(seen(entry, ("x", "param.grain"), ("f.recipe.steps", "10")), entry, index)

    assert len(axis.spans) == len(whole.columns) == 3
    assert all(a[1] < b[0] for a, b in zip(axis.spans, axis.spans[1:], strict=False))
    assert sum(c["total"] for c in whole.cells.values()) == entry.images
    keys = [v.key for _, v in whole.columns if v]
    assert {v.key for _, v in part.columns if v} <= set(keys)


@pytest.mark.parametrize(
    ("pairs", "condition"),
    [
        ([("f.recipe.steps", "10,30")], "`recipe.steps` in (10, 30)"),
        ([("f.recipe.scheduler", "ddim")], "`recipe.scheduler` == 'ddim'"),
        ([("f.seed", "1"), ("f.split", "search")], "seed == 1 and split == 'search'"),
        ([("f.tag", "food,place")], "tags.str.contains('food|place')"),
        ([("f.synthetic@1.min", "0.1")], "`synthetic@1` >= 0.1"),
        ([("f.recipe.guidance.max", "5")], "`recipe.guidance` <= 5"),
        ([("q", "FOX")], "prompt.str.contains('fox')"),
        ([("q", "100%_'")], "prompt == 'no such'"),
        ([("status", "failed")], "status == 'failed'"),
        ([("status", "ok")], "status == 'ok'"),
        ([("f.recipe.steps", r"\N")], "seed == -5"),
    ],
)
def test_filters(
    entry: Entry,
    index: Index,
    frame: pd.DataFrame,
    pairs: list[tuple[str, str]],
    condition: str,
) -> None:
    view = seen(entry, *pairs)

    asked = query.counts(view, entry, index.table("colours"))

    expected = frame.query(condition, engine="python")
    assert index.query(asked.sql, asked.values)[0]["total"] == len(expected)


@pytest.mark.parametrize("sort", ["synthetic@1", "seconds", "lead", "disagreement", "lower"])
def test_images_come_best_first_and_the_other_way_round(
    entry: Entry, index: Index, sort: str
) -> None:
    table = index.table("colours")
    first = query.images(seen(entry, ("sort", sort)), entry, table, first=0, count=1000)
    last = query.images(seen(entry, ("sort", f"-{sort}")), entry, table, first=0, count=1000)

    there = [r["o"] for r in index.query(first.sql, first.values) if r["o"] is not None]
    back = [r["o"] for r in index.query(last.sql, last.values) if r["o"] is not None]

    assert len(there) > 10
    up = sort == "seconds"
    assert there == pytest.approx(sorted(there, reverse=not up))
    assert back == pytest.approx(sorted(there, reverse=up))


def test_an_image_sorted_by_lower_bound_has_its_recipes(
    entry: Entry, index: Index, frame: pd.DataFrame
) -> None:
    asked = query.images(
        seen(entry, ("sort", "lower")), entry, index.table("colours"), first=0, count=5
    )
    top = index.query(asked.sql, asked.values)[0]

    some = frame[frame["recipe_id"] == top["recipe_id"]].groupby("prompt_id")[SCORE].mean().dropna()
    half = stats.t.ppf(0.975, len(some) - 1) * some.std(ddof=1) / math.sqrt(len(some))
    assert top["o"] == pytest.approx(some.mean() - half)


def test_pages_of_images_are_the_whole_without_gaps(entry: Entry, index: Index) -> None:
    view, table = seen(entry, ("sort", SCORE)), index.table("colours")

    pages = [query.images(view, entry, table, first=n, count=7) for n in range(0, 200, 7)]

    ids = [row["image_id"] for page in pages for row in index.query(page.sql, page.values)]
    assert sorted(ids) == list(range(entry.images))


def test_lines_are_sorted_by_what_one_asks(entry: Entry, index: Index) -> None:
    best = build(seen(entry, ("y", "recipe.steps"), ("sort", SCORE)), entry, index)
    worst = build(seen(entry, ("y", "recipe.steps"), ("sort", f"-{SCORE}")), entry, index)

    means = [best.cells[r, 0]["mean"] for r in range(3)]
    assert means == sorted(means, reverse=True)
    assert [v.key for _, v in worst.rows if v] == [v.key for _, v in best.rows if v][::-1]


def test_hidden_values_are_left_out_and_named(entry: Entry, index: Index) -> None:
    axes = (("x", "recipe.steps"), ("y", "seed"))
    wall = build(seen(entry, *axes, ("hide.recipe.steps", "20")), entry, index)

    assert [v.key for _, v in wall.columns if v] == ["10", "30"]
    assert [(name, value.key) for name, value in wall.hidden] == [("recipe.steps", "20")]


def test_a_wall_of_too_many_cells_says_so(
    entry: Entry, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "MOST_CELLS", 5)

    with pytest.raises(ConfigError, match="this wall has 6 cells; at most 5"):
        build(seen(entry, ("x", "recipe.steps"), ("y", "recipe.scheduler")), entry, index)


def test_it_starts_at_what_moves_the_objective_most_without_held_out_prompts(
    entry: Entry, index: Index
) -> None:
    view = first_view(entry, index)

    assert view.x == "recipe.steps"
    assert view.y in {"recipe.scheduler", "recipe.guidance", "param.grain"}
    assert view.sets == (("split", ("search",)),)
