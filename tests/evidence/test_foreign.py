"""Tables of other tools: told apart by stated rules, nothing guessed silently."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teststrip.errors import ConfigError
from teststrip.evidence import foreign
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import build
from teststrip.evidence.roles import Given


def plain(recipes=((10, 2.0), (20, 2.0), (10, 7.5), (20, 7.5)), prompts=5, seeds=2, noise=1):
    """What an X/Y plot script writes: one row per image."""
    rng = np.random.default_rng(noise)
    return pd.DataFrame(
        [
            {
                "steps": steps,
                "cfg_scale": cfg,
                "prompt_id": f"p{p}",
                "seed": s,
                "clip": round(float(rng.normal()), 4),
            }
            for steps, cfg in recipes
            for p in range(prompts)
            for s in range(seeds)
        ]
    )


@pytest.fixture
def read(tmp_path):
    def reads(frame, given=None, **options):
        path = tmp_path / "images.csv"
        frame.to_csv(path, index=False, **options)
        return foreign.read(path, given or Given())

    return reads


def scores_of(found):
    facts = StudyFacts("any", found.objective)
    grid = build(found.table, facts)
    return np.sort(grid.values[np.isfinite(grid.values)])


def test_a_plain_table_needs_no_flag(read):
    found = read(plain())

    assert found.scores == ("clip",)
    assert found.table["recipe_id"].nunique() == 4
    assert {"recipe.steps", "recipe.cfg_scale"} <= set(found.table)
    assert any("steps, cfg_scale" in note for note in found.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"sep": ";", "decimal": ","},
        {"sep": "\t"},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"},
    ],
)
def test_spreadsheets_of_any_country_give_the_same_scores(read, options):
    expected = scores_of(read(plain()))

    np.testing.assert_array_equal(scores_of(read(plain(), **options)), expected)


@given(order=st.permutations(range(6)), noise=st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_the_order_of_columns_and_rows_changes_nothing(order, noise):
    frame = plain(noise=noise).assign(sampler_name="euler")
    names = [frame.columns[i] for i in order]
    mixed = frame.sample(frac=1, random_state=noise)[names]

    one = foreign.understood(frame, Given(), "one")
    two = foreign.understood(mixed, Given(), "two")

    assert one.scores == two.scores == ("clip",)
    keys = ["recipe.steps", "recipe.cfg_scale", "prompt_id", "seed"]
    a, b = (t.table.set_index(keys)["clip"].sort_index() for t in (one, two))
    pd.testing.assert_series_equal(a, b)


def test_what_belongs_to_the_prompt_is_no_setting(read):
    frame = plain()
    frame["category"] = np.where(frame["prompt_id"] < "p3", "animal", "thing")
    frame["noise_sigma"] = frame["prompt_id"] + "/" + frame["seed"].astype(str)

    found = read(frame)

    assert found.table["recipe_id"].nunique() == 4
    assert any("Not used: category, noise_sigma" in note for note in found.notes)


def test_names_of_other_tools_stay_what_they_are(read):
    found = read(plain().assign(sampler=lambda f: np.where(f.steps > 10, "euler a", "DDIM")))

    assert "recipe.sampler" in found.table
    assert "recipe.cfg_scale" in found.table


def test_a_named_score_decides_and_what_looks_like_one_is_never_a_setting(read):
    found = read(plain().assign(stars=lambda f: f["clip"].round()), Given(scores=("stars",)))

    assert found.scores == ("stars", "clip")
    assert found.table["recipe_id"].nunique() == 4


def test_with_settings_named_the_other_numbers_are_scores(read):
    frame = plain().assign(judge=3)

    assert read(frame, Given(settings=("steps", "cfg_scale"))).scores == ("clip", "judge")


def test_prompts_may_be_texts_and_get_the_ids_that_a_study_would_give(read):
    from teststrip.recipe import Block

    frame = plain().rename(columns={"prompt_id": "prompt"})

    found = read(frame)

    assert set(found.table["prompt_id"]) == {
        Block(prompt=text, seed=0).prompt_id for text in frame["prompt"]
    }


def test_without_seeds_images_are_numbered_and_that_is_said(read):
    found = read(plain().drop(columns="seed"))

    assert set(found.table["seed"]) == {0, 1}
    assert any("paired by seed cannot be checked" in note for note in found.notes)


def test_random_seeds_of_minus_one_are_no_seeds(read):
    found = read(plain().assign(seed=-1))

    assert set(found.table["seed"]) == {0, 1}
    assert any("-1" in note for note in found.notes)


def test_scores_that_are_no_numbers_are_missing_and_never_0(read):
    frame = plain().astype({"clip": object})
    frame.loc[0, "clip"], frame.loc[1, "clip"], frame.loc[2, "clip"] = "n/a!", np.inf, ""

    found = read(frame)

    assert found.table["clip"].isna().sum() + np.isinf(found.table["clip"]).sum() == 3
    assert len(scores_of(found)) == len(frame) - 3
    assert any("2 of 40" in note and "not as 0" in note for note in found.notes)


def test_true_and_false_count_as_1_and_0(read):
    found = read(plain().assign(good=lambda f: f["clip"] > 0), Given(scores=("good",)))

    assert set(found.table["good"]) == {0.0, 1.0}
    assert any("true or false" in note for note in found.notes)


def test_a_failed_image_is_failed_with_its_reason(read):
    found = read(plain().assign(status=["ok", "OOM"] * 20))

    assert found.table["status"].value_counts().to_dict() == {"ok": 20, "failed": 20}
    assert set(found.table["reason"]) == {"", "oom"}


def test_mixed_empty_and_odd_settings_make_recipes(read):
    frame = plain()
    frame["sampler"] = ["", "euler", 7, True] * 10
    frame["x"] = [np.nan, 0.5] * 20

    found = read(frame.drop(columns="seed"), Given(scores=("clip",)))

    assert found.table["recipe_id"].nunique() == 16


def test_a_recipe_id_needs_no_settings_and_what_moves_within_it_is_none(read):
    frame = plain().assign(recipe_id=lambda f: f.steps.astype(str) + "/" + f.cfg_scale.astype(str))
    frame["note"] = range(len(frame))

    found = read(frame, Given(scores=("clip",), settings=("steps", "note")))

    assert found.table["recipe_id"].nunique() == 4
    assert "recipe.note" not in found.table
    assert any("changes within a recipe" in note for note in found.notes)


def test_hostile_names_are_names(read):
    frame = plain().rename(columns={"steps": "__class__", "cfg_scale": "<script>alert(1)</script>"})

    found = read(frame)

    assert found.table["recipe_id"].nunique() == 4


def test_held_out_images_are_kept_apart(read):
    found = read(plain().assign(split=["train", "test"] * 20).drop(columns="seed"))

    assert set(found.table["split"]) == {"search", "held_out"}


@pytest.mark.parametrize(
    ("change", "flags", "messages"),
    [
        (lambda f: f.drop(columns="prompt_id"), {}, ["--prompt"]),
        (lambda f: f.drop(columns="clip"), {}, ["--score"]),
        (lambda f: f[["prompt_id", "seed", "clip"]], {}, ["--setting", "--recipe"]),
        (lambda f: f.assign(prompt_id=""), {}, ["prompt 'prompt_id': empty in 40"]),
        (lambda f: f.assign(clip="a"), {"scores": ("clip",)}, ["not one number"]),
        (lambda f: pd.concat([f, f]), {}, ["40 images are there twice"]),
        (lambda f: f.head(0), {}, ["0 rows"]),
        (
            lambda f: f.drop(columns="prompt_id"),
            {"scores": ("nope",), "seed": "zip"},
            ["--score nope", "--seed 'zip'", "--prompt"],
        ),
    ],
)
def test_what_is_wrong_is_said_at_once_with_what_to_pass(read, change, flags, messages):
    with pytest.raises(ConfigError) as caught:
        read(change(plain()), Given(**flags))

    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, "no such file"),
        ("table.xlsx", b"PK", "a .parquet or .csv table is read"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\0\xff\xfe", "cannot be read"),
        ("zeros.csv", b"\0" * 1000, "cannot be read"),
        ("empty.csv", b"", "cannot be read"),
        ("bad.parquet", b"not parquet", "cannot be read"),
        ("ragged.csv", b"steps,prompt_id,clip\n1,a,0.5,9\n2,b,0.25,8\n", "cannot be read"),
        ("twice.csv", b"clip,clip,prompt_id\n1,2,a\n", "two columns are called 'clip'"),
        ("page.csv", b"<html><body>hello</body></html>\n<p>x</p>\n", "--prompt"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_words(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        foreign.read(path, Given())
