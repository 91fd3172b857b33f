"""A curve in words, and two parameters together."""

import numpy as np
import pytest

from teststrip.errors import ConfigError
from teststrip.evidence import shape
from teststrip.evidence.effects import effects, interaction
from teststrip.evidence.grid import build
from teststrip.evidence.importance import importance
from teststrip.evidence.levels import levels_of
from teststrip.evidence.table import checked


def told(means, least=0.5):
    """Which levels differ, where a gap of `least` can be told."""
    gaps = np.subtract.outer(means, means).T
    return np.where(np.abs(gaps) >= least, np.sign(gaps), 0).astype(int)


CURVES = {
    "higher is better throughout": [0, 1, 2, 3, 4],
    "lower is better throughout": [4, 3, 2, 1, 0],
    "rises to 6, flat to 8, then falls": [0, 1, 3, 3, 1],
    "rises to 6, then falls": [0, 2, 4, 2, 0],
    "rises to 6, then flat": [0, 2, 4, 4, 4],
    "flat to 6, then rises": [0, 0, 0, 2, 4],
    "falls to 4, then rises": [3, 0, 1, 2, 3],
    "falls to 4, rises to 8, then falls": [2, 0, 2, 4, 1],
    shape.UNSHAPED: [0, 0.1, 0.2, 0.1, 0],
}


@pytest.mark.parametrize(("words", "means"), CURVES.items(), ids=CURVES)
def test_a_curve_is_put_into_words(words, means):
    labels = ["2", "4", "6", "8", "10"]

    assert shape.of_numbers(labels, np.array(means, float), told(np.array(means))) == words


def test_many_small_steps_in_one_direction_are_seen():
    """No two neighbours can be told apart; the first and the last can."""
    means = np.arange(8) * 0.2
    differs = told(means)

    assert not np.diag(differs, 1).any()
    assert shape.of_numbers(list("abcdefgh"), means, differs) == "higher is better"


def test_the_top_of_a_hill_is_only_as_sharp_as_can_be_told():
    means = np.array([-0.36, 0.34, 0.17, 0.16, -0.30])

    words = shape.of_numbers(["2", "4", "6", "8", "10"], means, told(means, 0.4))

    assert words == "rises to 4, flat to 8, then falls"


def test_choices_are_named_from_both_ends():
    means = np.array([3.0, 2.9, 1.5, 0.0])
    names = ["unipc", "dpmpp_2m", "ddim", "pndm"]

    assert shape.of_choices(names, means, told(means)) == "unipc, dpmpp_2m best; pndm worst"
    assert shape.of_choices(names[:2], means[:2], told(means[:2])) == shape.UNSHAPED
    assert shape.of_choices(names[2:], means[2:], told(means[2:])) == "ddim better than pndm"


def test_levels_differ_only_where_prompts_and_recipes_agree():
    rng = np.random.default_rng(0)
    groups = [range(4), range(4, 8)]
    step = np.repeat([0.0, 1.0], 4)[:, None]
    quiet = step + 0.01 * rng.normal(size=(8, 6))
    by_prompt = step * np.array([9, -9, 9, -9, 9, -9]) + step

    assert shape.differences(quiet, groups, 1e-4, 6)[0, 1] == 1
    assert shape.differences(quiet, groups, 10.0, 6)[0, 1] == 0  # recipes differ as much anyway
    assert shape.differences(by_prompt, groups, 1e-4, 6)[0, 1] == 0  # prompts do not agree


def test_words_follow_the_verdict_of_importance(worlds, facts):
    rng = np.random.default_rng(0)
    guidance = np.repeat([2, 4, 6, 8, 10, 12], 10)
    scheduler = rng.choice(["ddim", "euler", "unipc"], 60)
    steps = rng.integers(10, 50, 60)
    hill = np.array([0, 0.7, 1.4, 1.4, 1.4, 0.3])[guidance // 2 - 1] + 0.8 * (scheduler == "ddim")
    values = hill[:, None] + rng.normal(size=12) + 0.3 * rng.normal(size=(60, 12))
    cells = [
        {"recipe.guidance": g, "recipe.scheduler": s, "recipe.steps": n}
        for g, s, n in zip(guidance, scheduler, steps, strict=True)
    ]
    table = checked(worlds.frame(values, np.arange(12), grid=cells))
    about = facts(design="random", baseline=None)
    grid = build(table, about)

    verdict = importance(table, about, grid)
    found = {e.field: e for e in effects(table, about, grid, verdict)}
    adaptive = effects(table, facts(design="tpe", baseline=None))

    assert found["guidance"].words == "rises to 6, flat to 10, then falls"
    assert found["guidance"].best_range == ("6", "8", "10")
    assert found["scheduler"].words == "ddim best; euler, unipc worst" or (
        found["scheduler"].words == "ddim best; unipc, euler worst"
    )
    assert (found["steps"].words, found["steps"].best_range) == ("no evidence of effect", ())
    assert {e.words for e in adaptive} == {"not judged"}


def test_without_effects_hardly_a_word_is_said(worlds, facts):
    rng, said = np.random.default_rng(0), 0
    for _ in range(30):
        cells = [
            {"recipe.guidance": float(g), "recipe.scheduler": s}
            for g, s in zip(rng.uniform(1, 9, 32), rng.choice(["a", "b", "c"], 32), strict=True)
        ]
        table = checked(worlds.frame(rng.normal(size=(32, 8)), np.arange(8), grid=cells))
        found = effects(table, facts(design="random", baseline=None))
        said += any(e.words != "no evidence of effect" for e in found)

    assert said <= 4


def test_an_interaction_is_shown_by_cells(worlds, facts):
    cells = [
        {"recipe.guidance": g, "recipe.scheduler": s} for g in (2, 4, 8) for s in ("ddim", "euler")
    ]
    amount = np.array([0, 0, 1, 0, 2, 0.0])
    values = amount[:, None] + np.random.default_rng(0).normal(size=8)
    table = checked(worlds.frame(values, np.arange(8), grid=cells))

    found = interaction(table, facts(baseline=None), ("guidance", "scheduler"))

    assert found.labels == (("2", "4", "8"), ("ddim", "euler"))
    assert (found.values, found.numeric) == ((2, 4, 8), True)
    assert found.recipes == ((1, 1), (1, 1), (1, 1))
    gains = np.array([[cell.mean for cell in row] for row in found.gain])
    assert gains.ravel() == pytest.approx(amount - amount.mean())
    with pytest.raises(ConfigError, match="steps does not vary"):
        interaction(table, facts(), ("guidance", "steps"))


def test_cells_without_recipes_are_empty(worlds, facts):
    cells = [{"recipe.guidance": g, "recipe.steps": n} for g, n in ((1, 5), (1, 9), (2, 5))]
    table = checked(
        worlds.frame(np.random.default_rng(0).normal(size=(3, 4)), np.arange(4), grid=cells)
    )

    found = interaction(table, facts(baseline=None), ("guidance", "steps"))

    assert found.gain[1][1] is None
    assert found.recipes[1][1] == 0


def test_every_recipe_is_in_one_level_whatever_the_values():
    rng = np.random.default_rng(0)
    mixed = [None] * 9 + [0.0] * 20 + rng.uniform(0, 1, 30).tolist() + ["auto"]

    for cells in (mixed, mixed[9:59], [True, False, True], ["a", "b"], [1, 2.0, 2]):
        levels = levels_of(cells)

        members = sorted(k for g in levels.groups for k in g.members)
        assert members == list(range(len(cells)))
        assert len({g.label for g in levels.groups}) == len(levels.groups)
    assert not levels_of(mixed).numeric
    assert levels_of(mixed[9:59]).numeric
