"""Full grids by prompt: against repeated-measures ANOVA, and on worlds of nothing."""

import numpy as np
import pandas as pd
import pytest

from teststrip.evidence.crossed import Crossed, full_grid, judge, too_few_prompts
from teststrip.evidence.effects import effects
from teststrip.evidence.grid import build
from teststrip.evidence.importance import importance
from teststrip.evidence.searched import Searched
from teststrip.evidence.table import checked

ALPHA = 0.05


def grid_of(rng, shape=(3, 2), prompts=8, effect=0.0, noise=0.5):
    lead = effect + noise * rng.normal(size=(prompts, *shape))
    inner = tuple(range(1, lead.ndim))
    return Crossed(tuple("abc"[: len(shape)]), lead - lead.mean(axis=inner, keepdims=True))


def by_fields(grid, size):
    return {one.fields: one for one in judge(grid, size, ALPHA, 0.95)}


def test_shares_agree_with_repeated_measures_in_statsmodels():
    """F of a term is its mean square over that of term x prompt; F - 1 of F is no noise."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    grid = grid_of(np.random.default_rng(0), effect=np.array([[0.0, 0.2], [0.3, 1.5], [0.4, 0.4]]))
    frame = pd.DataFrame(
        [(u, i, j, y) for (u, i, j), y in np.ndenumerate(grid.lead)], columns=["u", "a", "b", "y"]
    )
    oracle = anova_lm(ols("y ~ (C(u) + C(a) + C(b)) ** 2", frame).fit(), typ=1)
    square = oracle["sum_sq"] / oracle["df"]

    for fields, one in (by_fields(grid, 1) | by_fields(grid, 2)).items():
        term = ":".join(f"C({name})" for name in fields)
        f = square[term] / square["Residual" if len(fields) == 2 else f"C(u):{term}"]
        real = oracle.loc[term, "sum_sq"] / 8 * (1 - 1 / f)
        assert one.share.mean == pytest.approx(real / grid.total, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 2), (3, 3, 2)])
def test_what_does_nothing_is_hardly_ever_shown(shape):
    rng, worlds, false = np.random.default_rng(1), 150, [0, 0]
    for _ in range(worlds):
        grid = grid_of(rng, shape)
        for size in (1, 2):
            false[size - 1] += any(one.p <= ALPHA for one in judge(grid, size, ALPHA, 0.95))

    assert max(false) / worlds <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / worlds) ** 0.5


def test_a_hill_that_every_prompt_agrees_on_is_certain_with_eight_recipes(worlds, facts):
    """Recipe by recipe it could be chance: two of eight recipes share the best value."""
    rng = np.random.default_rng(0)
    cfg, sampler = np.repeat([3, 5, 7, 9], 2), np.tile(["ddim", "euler"], 4)
    settings = [
        {"recipe.guidance": float(c), "recipe.scheduler": s}
        for c, s in zip(cfg, sampler, strict=True)
    ]
    values = 0.5 * (cfg == 5)[:, None] + rng.normal(size=10) + 0.1 * rng.normal(size=(8, 10))
    table = checked(worlds.frame(values, np.arange(10), grid=settings))
    about = facts(design="grid", varied=("guidance", "scheduler"), baseline=None)
    grid = build(table, about)

    found = importance(table, about, grid)
    curve = next(e for e in effects(table, about, grid, found) if e.field == "guidance")

    assert [(t.fields[0], t.shown) for t in found.mains] == [
        ("guidance", True),
        ("scheduler", False),
    ]
    assert found.mains[0].share.mean > 0.9
    assert curve.best_range == ("5",)
    assert curve.words == "rises to 5, falls to 7, then flat"


def test_few_prompts_say_what_they_cannot_show(worlds, facts):
    grid = grid_of(np.random.default_rng(0), (4, 2), prompts=3)

    assert too_few_prompts(grid, ALPHA) == ("b",)  # 2 levels: 4 ways to deal, 24**2 for 4
    assert by_fields(grid, 1)[("b",)].p > ALPHA


def test_only_each_combination_once_is_a_grid():
    def part(cells):
        return Searched(np.zeros((len(cells["a"]), 4)), cells, (), 4, 4)

    whole = {"a": [1, 1, 2, 2], "b": ["x", "y", "x", "y"]}
    assert full_grid(part(whole)).lead.shape == (4, 2, 2)
    assert full_grid(part(whole | {"dummy_a": [0.1, 0.2, 0.3, 0.4]})).fields == ("a", "b")
    assert full_grid(part({"a": [1, 1, 2], "b": ["x", "y", "x"]})) is None
    assert full_grid(part({"a": [1, 1, 2, 2], "b": ["x", "y", "x", "x"]})) is None
    assert full_grid(part({"a": [1, 2, 3, 4]})) is None
