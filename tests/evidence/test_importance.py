"""What matters, and what only seems to: shares, null bands, refusals."""

import itertools

import numpy as np
import pandas as pd
import pytest

from teststrip.evidence import anova
from teststrip.evidence.grid import build
from teststrip.evidence.importance import importance
from teststrip.evidence.table import checked
from teststrip.evidence.terms import basis

FIELDS = ("guidance", "steps", "scheduler", "rescale", "dummy_a", "dummy_b")
SEARCHED = ("guidance", "steps", "scheduler", "rescale")


def sobol(rng, recipes):
    from scipy.stats import qmc

    u = qmc.Sobol(d=6, scramble=True, rng=rng).random(recipes)
    return {
        "guidance": 1 + 9 * u[:, 0],
        "steps": np.floor(5 + 46 * u[:, 1]),
        "scheduler": np.array(["ddim", "euler", "pndm", "unipc"])[(4 * u[:, 2]).astype(int)],
        "rescale": u[:, 3],
        "dummy_a": u[:, 4],
        "dummy_b": u[:, 5],
    }


def full(repeats=1):
    cells = itertools.product((2, 4, 8), (10, 20, 30), ("ddim", "euler"), (0.0, 0.5))
    columns = list(zip(*list(cells) * repeats, strict=True))
    return dict(zip(SEARCHED, map(np.array, columns), strict=True))


@pytest.fixture(scope="module")
def world(worlds, facts):
    """(table, facts, grid) of a study: settings by name, true effects, noise."""

    def make(settings, effect, prompts=8, seeds=1, noise=0.5, seed=0, **changes):
        rng = np.random.default_rng(seed)
        recipes = len(effect)
        prompt_of = np.tile(np.arange(prompts), seeds)
        values = np.asarray(effect)[:, None] + rng.normal(size=len(prompt_of))
        values = values + noise * rng.normal(size=values.shape)
        cells = [
            {
                ("param." if n.startswith("dummy") else "recipe.") + n: v[i]
                for n, v in settings.items()
            }
            for i in range(recipes)
        ]
        table = checked(worlds.frame(values, prompt_of, grid=cells))
        about = facts(
            **({"design": "sobol", "varied": tuple(settings), "baseline": None} | changes)
        )
        return table, about, build(table, about)

    return make


def test_sums_of_squares_and_f_agree_with_statsmodels_on_balanced_and_unbalanced_designs():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    rng = np.random.default_rng(0)
    for rows in (slice(None), rng.permutation(72)[:41]):
        frame = pd.DataFrame(full(2)).iloc[rows].reset_index(drop=True)
        frame["y"] = rng.normal(size=len(frame)) + frame["guidance"] * (frame["steps"] == 20)
        formula = "y ~ C(guidance) + C(steps) + C(scheduler) + C(rescale)"
        oracle = anova_lm(ols(formula, frame).fit(), typ=2)

        response = (frame["y"] - frame["y"].mean()).to_numpy()
        parts = anova.pieces([basis(n, frame[n].tolist()).columns for n in SEARCHED])

        for name, one in zip(SEARCHED, parts, strict=True):
            squares, left = anova.partial(one, response)
            f = squares / one.df / (left / one.noise_df)
            assert squares == pytest.approx(oracle.loc[f"C({name})", "sum_sq"], rel=1e-6)
            assert f == pytest.approx(oracle.loc[f"C({name})", "F"], rel=1e-6)


def test_an_interaction_agrees_with_statsmodels(world):
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    settings = full()
    table, facts, grid = world(settings, (settings["guidance"] == 4) * (settings["steps"] == 20.0))
    found = importance(table, facts, grid)
    frame = pd.DataFrame(settings)
    frame["y"] = (grid.values - grid.values.mean(axis=0)).mean(axis=1)
    mains = "y ~ C(guidance) + C(steps) + C(scheduler) + C(rescale)"
    oracle = anova_lm(ols(f"{mains} + C(guidance):C(steps)", frame).fit(), typ=2)
    squares, df = oracle.loc["C(guidance):C(steps)", ["sum_sq", "df"]]
    noise = oracle.loc["Residual", "sum_sq"] / oracle.loc["Residual", "df"]

    share = next(t.share.mean for t in found.pairs if t.fields == ("guidance", "steps"))

    total = ((frame["y"] - frame["y"].mean()) ** 2).sum()
    assert share == pytest.approx((squares - df * noise) / total, rel=1e-6)
