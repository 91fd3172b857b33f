"""A study file: everything that can be wrong with it is said at once, in words."""

from pathlib import Path

import pytest
import yaml

from teststrip.errors import ConfigError
from teststrip.study.config import StudyConfig, check
from teststrip.study.load import read_study
from teststrip.study.plan import make_plan


def faults(data, what="study"):
    with pytest.raises(ConfigError) as caught:
        check(data, what)
    return caught.value.faults


def test_five_faults_of_mixed_kinds_are_five_lines(config, tmp_path):
    bad = config(
        name="no spaces allowed",  # a field
        space={"gidance": [1, 2], "steps": {"int": [10, 5000]}},  # across fields, and a range
        race={"top": 99},  # across prompts, seeds and race
        colour="red",  # an unknown key
    )
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(bad))

    with pytest.raises(ConfigError) as caught:
        read_study(path)

    found = caught.value.faults
    assert len(found) == 5, found
    for part in ("name:", "colour: unknown key", "did you mean 'guidance'?", "steps", "race.top"):
        assert sum(part in line for line in found) == 1, part
    assert str(caught.value).count("\n") == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": []}, "the list of prompts is empty"),
        ({"prompts": ["a", "b", "a"]}, "the same prompt twice: 'a'"),
        ({"prompts": ["a", "  "]}, "the prompt is blank"),
        ({"prompts": {"items": ["a", "b"], "template": "x"}}, "must hold {prompt} exactly once"),
        ({"prompts": {"items": ["a"], "held_out": 0.5}}, "needs at least two prompts"),
        ({"space": {}}, "at least 1"),
        ({"space": {"steps": 20}}, "belongs under `recipe`"),
        ({"space": {"steps": {"int": [5, 5]}}}, "low end must be below"),
        ({"space": {"steps": {"int": [10, 20], "log": True, "step": 2}}}, "log or step"),
        ({"space": {"guidance": {"float": [0, 5], "log": True}}}, "low end above 0"),
        ({"space": {"guidance": {"float": [1, 5]}}}, "a grid needs a list of values or a `step`"),
        ({"space": {"scheduler": ["ddim", "nope"]}}, "unknown noise scheduler"),
        ({"space": {"scheduler": ["ddim", "ddim"]}}, "listed twice"),
        ({"space": {"eta": {"choice": [0, 1], "when": {"sched": "ddim"}}}}, "is not searched"),
        (
            {"space": {"scheduler": ["ddim"], "eta": {"choice": [0], "when": {"scheduler": "x"}}}},
            "never is 'x'",
        ),
        (
            {
                "space": {
                    "steps": {"choice": [1, 2], "when": {"guidance": 3}},
                    "guidance": {"choice": [3], "when": {"steps": 1}},
                }
            },
            "circle",
        ),
        ({"recipe": {"steps": 20}}, "also fixed under `recipe`"),
        ({"recipe": {"stepz": 20}}, "recipe.stepz"),
        ({"baseline": {"steps": 0}}, "baseline.steps"),
        ({"constraints": ["steps.__class__"]}, "Attribute is not accepted"),
        ({"objectives": []}, "at least 1"),
        ({"objectives": ["a", "a"]}, "listed 2 times"),
        ({"scorers": []}, "give at least one"),
        ({"design": {"kind": "tpe"}}, "needs a number of recipes"),
        ({"design": {"kind": "magic"}}, "'grid'"),
        ({"race": {"start": 30}}, "more than the 12 blocks"),
        (
            {"race": {"kind": "wilcoxon"}, "objectives": ["synthetic", "seconds"]},
            "wilcoxon takes one objective",
        ),
        (
            {"race": {"kind": "posterior"}, "objectives": ["synthetic", "seconds"]},
            "posterior takes one objective",
        ),
        (
            {"race": {"kind": "frace"}, "objectives": ["synthetic", "seconds"]},
            "frace takes one objective",
        ),
        ({"design": {"kind": "random"}}, "random needs a number of recipes"),
        ({"budget": {"images": 0}}, "greater than or equal to 1"),
        ({"space": {"dummy_a": [0, 1]}}, "only dummies"),
        ({"seeds": 0}, "greater than or equal to 1"),
    ],
)
def test_each_fault_says_what_to_do(config, changes, message):
    found = faults(config(**changes))

    assert any(message in line for line in found), found


def test_what_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("- a\n- b\n")

    with pytest.raises(ConfigError, match="must hold `key: value` lines"):
        read_study(path)


def test_changes_from_the_command_line_reach_nested_keys(config, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(config()))

    found = read_study(path, ["budget.images=400", "race.kind=none", "name=other"])

    assert (found.budget.images, found.race.kind, found.name) == (400, "none", "other")


def test_a_study_is_named_after_its_file_and_reads_its_prompts_beside_it(config, tmp_path):
    data = config(prompts={"file": "words.txt", "held_out": 0.5}, race={})
    del data["name"]
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "words.txt").write_text("# comment\na cat\tanimal, pet\n\na red apple\n")

    found = read_study(tmp_path / "first.yaml")

    assert found.name == "first"
    assert [p.text for p in found.prompts.items] == ["a cat", "a red apple"]
    assert found.prompts.items[0].tags == ("animal", "pet")


def test_a_missing_prompts_file_is_one_fault_beside_the_others(config, tmp_path):
    path = tmp_path / "first.yaml"
    path.write_text(yaml.safe_dump(config(prompts="nowhere.txt", colour="red")))

    with pytest.raises(ConfigError) as caught:
        read_study(path)

    assert len(caught.value.faults) == 2
    assert "nowhere.txt" in str(caught.value)
    assert "colour" in str(caught.value)


def test_the_resolved_config_reads_back_as_itself(config):
    space = {
        "scheduler": ["ddim", "euler"],
        "eta": {"float": [0, 1], "step": 0.5, "when": {"scheduler": ["ddim"]}},
        "steps": {"int": [5, 40], "log": True},
        "dummy_a": [0, 1],
    }
    first = check(config(space=space, design={"kind": "sobol", "trials": 4}), "study")

    assert StudyConfig.model_validate(first.resolved()) == first


@pytest.mark.parametrize("path", sorted(Path("conf").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_a_study(path):
    plan = make_plan(read_study(path))

    assert plan.recipes >= 8
    assert plan.images_expected <= plan.images_full_grid
