"""Sweeping an adapter: which file and how strongly are two parameters of a study."""

import pandas as pd
import pytest

from teststrip.errors import ConfigError
from teststrip.evidence.reproduce import recipe_of
from teststrip.study import Study
from teststrip.study.adapters import names, with_adapter
from teststrip.study.config import check
from teststrip.study.entries import baseline_point, fixed_points
from teststrip.testing.synthetic import COLUMN, SyntheticGenerator, SyntheticScorer

FILES = [f"runs/ink/checkpoints/{step:06}/pytorch_lora_weights.safetensors" for step in (400, 800)]


def config(**changes):
    return {
        "name": "ink",
        "prompts": ["a cat", "a dog", "a hat", "a tea cup"],
        "seeds": 2,
        "space": {"lora": FILES, "lora_scale": [0.5, 1.0]},
        "objectives": [COLUMN],
        "race": {"kind": "none"},
    } | changes


def test_file_and_scale_make_one_adapter_of_the_recipe():
    points, refused = fixed_points(check(config(), "ink"))
    assert len(points) == 4
    assert refused == 0
    made = with_adapter({"steps": 5, "lora": FILES[0], "lora_scale": 0.5})
    assert made == {"steps": 5, "loras": [{"path": FILES[0], "scale": 0.5}]}


def test_a_scale_alone_acts_on_the_first_fixed_adapter():
    fixed = [{"path": "a", "scale": 1.0}, {"path": "b", "scale": 0.3}]
    made = with_adapter({"loras": fixed, "lora_scale": 0.5})
    assert made["loras"] == [{"path": "a", "scale": 0.5}, {"path": "b", "scale": 0.3}]
    assert fixed[0]["scale"] == 1.0


def test_no_file_is_no_adapter():
    assert with_adapter({"lora": None, "lora_scale": 0.5}) == {"loras": []}
    assert with_adapter({"steps": 5}) == {"steps": 5}


def test_a_file_is_shown_by_what_tells_it_from_the_others():
    assert list(names(FILES).values()) == ["000400", "000800"]
    assert names(["ink.safetensors", "wash.safetensors"])["ink.safetensors"] == "ink"
    assert names(["styles/ink.safetensors"]) == {"styles/ink.safetensors": "ink"}
    assert list(names(["a/x/w.safetensors", "b/x/w.safetensors"]).values()) == ["a/x/w", "b/x/w"]
    assert list(names(["a", "a/b"]).values()) == ["a", "b"]


def test_all_faults_of_a_swept_adapter_are_told_at_once():
    with pytest.raises(ConfigError) as found:
        check(config(space={"lora": [""], "lora_scale": [0.5, 99]}, recipe={"lora": "x"}), "ink")
    text = str(found.value)
    assert "space.lora" in text
    assert "99" in text
    assert "recipe.lora" in text
    with pytest.raises(ConfigError, match="of which adapter"):
        check(config(space={"lora_scale": [0.5, 1.0]}), "ink")
    with pytest.raises(ConfigError, match="searched, too"):
        check(config(space={"lora": FILES, "loras": [[]]}), "ink")


def test_a_baseline_without_adapter_lies_outside_the_space():
    assert baseline_point(check(config(), "ink")) is None
    inside = check(config(baseline={"loras": [{"path": FILES[0], "scale": 0.5}]}), "ink")
    assert baseline_point(inside) == {"lora": FILES[0], "lora_scale": 0.5}


def test_the_table_of_a_study_shows_file_and_scale_apart(tmp_path):
    study = Study(config(), SyntheticGenerator(3), [SyntheticScorer()], tmp_path)
    study.run()
    table = pd.read_parquet(study.folder.table)
    names = table["recipe.lora"].fillna("none")
    seen = set(zip(names, table["recipe.lora_scale"].fillna(0), strict=True))
    assert seen == {("none", 0), ("000400", 0.5), ("000400", 1), ("000800", 0.5), ("000800", 1)}
    for _, row in table.iterrows():
        recipe = recipe_of(row)
        assert recipe is not None
        assert recipe.recipe_id == row["recipe_id"]


def test_the_studio_shows_file_and_scale_and_not_both_once_more(tmp_path):
    from teststrip.studio.index import Index

    Study(config(), SyntheticGenerator(3), [SyntheticScorer()], tmp_path).run()
    index = Index(None)
    index.refresh(tmp_path)
    shown = {setting.label for setting in index.entry("ink").settings}
    index.close()
    assert shown == {"lora", "lora_scale"}
