"""The table of images: read, checked, all faults at once."""

import numpy as np
import pandas as pd
import pytest

from teststrip.errors import ConfigError
from teststrip.evidence.table import checked, load, score_columns, settings_of, varied_fields

ROWS = pd.DataFrame(
    {
        "recipe.steps": [10.0, 10.0, 20.0, 20.0],
        "recipe.model": ["m"] * 4,
        "recipe.rescale": [np.nan, np.nan, 0.5, 0.5],
        "prompt_id": ["a", "b", "a", "b"],
        "seed": [1, 1, 1, 1],
        "clip@1": [0.1, 0.2, 0.3, 0.4],
    }
)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_table_is_read_back_as_it_was_written(tmp_path, kind):
    path = tmp_path / f"images.{kind}"
    ROWS.to_parquet(path) if kind == "parquet" else ROWS.to_csv(path, index=False)

    table = load(path, "clip@1")

    assert list(table["clip@1"]) == [0.1, 0.2, 0.3, 0.4]
    assert set(table["status"]) == {"ok"}
    assert set(table["split"]) == {"search"}
    assert table["recipe_id"].nunique() == 2


def test_the_users_table_is_left_as_it_was():
    before = ROWS.copy()

    checked(ROWS)

    pd.testing.assert_frame_equal(ROWS, before)


def test_all_that_is_missing_is_said_at_once():
    with pytest.raises(ConfigError) as caught:
        checked(pd.DataFrame({"x": ["a"]}), "my.csv", "clip@1")

    assert len(caught.value.faults) == 4
    for word in ("my.csv", "prompt_id", "seed", "recipe_id", "clip@1"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip@1": list("abcd")}, "numbers are accepted"),
        ({"prompt_id": ["a"] * 4}, "there twice"),
    ],
)
def test_what_cannot_be_used_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        checked(ROWS.assign(**change), objective="clip@1")


def test_an_empty_table_is_refused():
    with pytest.raises(ConfigError, match="0 rows"):
        checked(ROWS.head(0))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.parquet", None, "no such file"),
        ("bad.parquet", b"not parquet", "cannot be read"),
        ("images.pkl", b"", "parquet or .csv"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        load(path)


def test_scores_are_the_numbers_that_are_nothing_else():
    table = checked(ROWS.assign(seconds=0.5, trial=1, flag=True))

    assert score_columns(table) == ["clip@1"]


def test_only_what_varies_is_shown():
    table = checked(ROWS)

    assert varied_fields(table) == ("steps", "rescale")
    assert list(settings_of(table, ["steps", "rescale"]).values()) == [
        {"steps": 10, "rescale": None},
        {"steps": 20, "rescale": 0.5},
    ]
