"""The mixed model, held against dense matrices, the balanced ANOVA and statsmodels."""

import numpy as np
import pytest

from teststrip.evidence import mixed, posterior
from teststrip.evidence.grid import Grid
from teststrip.evidence.restricted import Cells


def grid_of(values, prompt_of, sign=1):
    return Grid(
        recipes=tuple(f"r{i:03d}" for i in range(len(values))),
        blocks=tuple((f"p{p}", i) for i, p in enumerate(prompt_of)),
        prompt_ids=tuple(f"p{p}" for p in range(int(max(prompt_of)) + 1)),
        prompt_index=np.asarray(prompt_of, dtype=np.intp),
        values=values,
        tried=np.isfinite(values),
        sign=sign,
    )


def balanced(values, prompts, seeds):
    """(s_u, s_w, s_e) of the balanced ANOVA; columns: seeds outermost."""
    y = values.reshape(len(values), seeds, prompts)
    recipes = len(y)
    m, r, p = y.mean(), y.mean(axis=(1, 2)), y.mean(axis=(0, 1))
    rp, sp = y.mean(axis=1), y.mean(axis=0)
    ms_r = prompts * seeds * ((r - m) ** 2).sum() / (recipes - 1)
    off = rp - r[:, None] - p[None, :] + m
    ms_rp = seeds * (off**2).sum() / ((recipes - 1) * (prompts - 1))
    rest = y - rp[:, None, :] - sp[None] + p[None, None, :]
    ms_e = (rest**2).sum() / ((recipes - 1) * prompts * (seeds - 1))
    return (ms_r - ms_rp) / (prompts * seeds), (ms_rp - ms_e) / seeds, ms_e


def dense(cells, a, c):
    """(restricted log likelihood, block effects) with whole matrices."""
    prompts = int(cells.prompt.max()) + 1
    M, xvy, yvy, log_v = 0.0, 0.0, 0.0, 0.0
    for row, known in zip(cells.y, cells.have, strict=True):
        i = np.flatnonzero(known)
        Z = (cells.prompt[i][:, None] == np.arange(prompts)).astype(float)
        V = np.eye(len(i)) + c * Z @ Z.T + a
        X, W = np.eye(len(cells.prompt))[i], np.linalg.inv(V)
        M, xvy = M + X.T @ W @ X, xvy + X.T @ W @ row[i]
        yvy += row[i] @ W @ row[i]
        log_v += np.linalg.slogdet(V)[1]
    beta = np.linalg.solve(M, xvy)
    Q = yvy - xvy @ beta
    log_m = np.linalg.slogdet(M)[1]
    return -0.5 * (log_v + log_m + cells.degrees * np.log(Q)), beta


@pytest.fixture
def holed():
    rng = np.random.default_rng(0)
    have = rng.random((7, 12)) < 0.7
    have[0] = True
    y = np.where(have, rng.normal(size=(7, 12)) + rng.normal(size=(7, 1)), 0.0)
    return Cells(y, have, np.tile(np.arange(4), 3))


@pytest.mark.parametrize(("a", "c"), [(0.5, 0.3), (0.0, 0.0), (2.0, 0.0), (0.0, 1.0)])
def test_the_likelihood_is_that_of_the_whole_matrices(holed, a, c):
    point = holed.at(a, c)

    likelihood, beta = dense(holed, a, c)

    assert point.log_likelihood == pytest.approx(likelihood, abs=1e-9)
    assert point.beta == pytest.approx(beta, abs=1e-9)


def test_the_gradient_is_the_slope(holed):
    h, point = 1e-6, holed.at(0.5, 0.3)

    along_a = (dense(holed, 0.5 + h, 0.3)[0] - dense(holed, 0.5 - h, 0.3)[0]) / (2 * h)
    along_c = (dense(holed, 0.5, 0.3 + h)[0] - dense(holed, 0.5, 0.3 - h)[0]) / (2 * h)

    assert point.gradient() == pytest.approx([along_a, along_c], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_without_holes_it_is_the_balanced_anova(worlds, seed):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(seed), 12, 8, 4)

    fit = mixed.fit(grid_of(values, prompt_of))

    expected = balanced(values, 8, 4)
    assert min(expected) > 0
    found = (fit.recipe, fit.interaction, fit.residual)
    assert found == pytest.approx(expected, rel=1e-6)


def test_with_holes_it_is_that_of_statsmodels(worlds):
    """One prompt per block: REML of u with block dummies as fixed effects."""
    import warnings

    import pandas as pd
    from statsmodels.formula.api import mixedlm

    values, prompt_of, _ = worlds.scores(np.random.default_rng(3), 10, 8, 1)
    values[worlds.halving(values, prompt_of) == 0] = np.nan
    r, b = np.nonzero(np.isfinite(values))
    frame = pd.DataFrame({"y": values[r, b], "recipe": r, "block": b})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mixedlm("y ~ C(block)", frame, groups="recipe").fit(reml=True, gtol=1e-12)

    ours = mixed.fit(grid_of(values, prompt_of))

    assert ours.residual == pytest.approx(theirs.scale, rel=1e-5)
    assert ours.recipe == pytest.approx(float(theirs.cov_re.iloc[0, 0]), rel=1e-4)
    u = np.array([theirs.random_effects[i].iloc[0] for i in range(10)])
    mode = ours.mode
    assert ours.scale * mode.shrink * mode.rest == pytest.approx(u, abs=1e-4)


def test_what_a_race_stopped_does_not_bend_the_variances(worlds):
    """Survivors alone would say that recipes hardly differ; all cells say how much they do."""
    rng, all_cells, survivors = np.random.default_rng(1), [], []
    for _ in range(60):
        values, prompt_of, _ = worlds.scores(rng, 32, 8, 4)
        made = worlds.halving(values, prompt_of)
        raced = np.where(made, values, np.nan)
        all_cells.append(mixed.fit(grid_of(raced, prompt_of)).recipe)
        survivors.append(mixed.fit(grid_of(raced[made.all(axis=1)], prompt_of)).recipe)

    error = np.std(all_cells) / 60**0.5
    assert np.mean(all_cells) == pytest.approx(0.25, abs=3.5 * error)
    assert np.mean(survivors) < 0.22


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_score_does_not_matter(worlds, unit):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(0), 9, 6, 3)

    one = mixed.fit(grid_of(values, prompt_of))
    other = mixed.fit(grid_of(5 * unit + unit * values, prompt_of))

    assert other.recipe == pytest.approx(unit**2 * one.recipe, rel=1e-5)
    assert other.residual == pytest.approx(unit**2 * one.residual, rel=1e-5)
    assert posterior.effects(other).p_best == pytest.approx(posterior.effects(one).p_best, abs=0.01)


def test_turning_the_scale_turns_the_best(worlds):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(0), 6, 8, 2)

    up = posterior.effects(mixed.fit(grid_of(values, prompt_of)))
    down = posterior.effects(mixed.fit(grid_of(-values, prompt_of, sign=-1)))

    assert down.p_best == pytest.approx(up.p_best)


@pytest.mark.parametrize(
    "values",
    [
        np.full((5, 8), 0.5),  # all equal
        np.array([[0.1], [0.7]]),  # two images
        np.ones((1, 8)) * np.arange(8),  # one recipe
        np.ones((4, 1)) * np.arange(8),  # blocks differ, recipes do not
        np.zeros((3, 4)),
    ],
)
def test_what_cannot_be_fitted_is_none(values):
    assert mixed.fit(grid_of(values, np.arange(values.shape[1]) % 4)) is None


def test_recipes_that_differ_by_the_same_on_every_block_are_told_apart():
    fit = mixed.fit(grid_of(np.arange(4.0)[:, None] + np.arange(8), np.arange(8) % 4))

    assert posterior.effects(fit).p_best.tolist() == [0, 0, 0, 1]
    assert fit.residual < 1e-3 * fit.recipe


def test_recipes_without_a_block_in_common_are_none():
    values = np.full((2, 4), np.nan)
    values[0, :2], values[1, 2:] = [0.1, 0.2], [0.5, 0.9]

    assert mixed.fit(grid_of(values, [0, 1, 2, 3])) is None


def test_no_difference_between_recipes_is_a_variance_of_zero(worlds):
    null = {"recipe": 0.0, "prompt": 1.0, "seed": 0.6, "interaction": 0.0, "residual": 0.5}
    rng, zero = np.random.default_rng(0), 0
    for _ in range(20):
        values, prompt_of, _ = worlds.scores(rng, 8, 8, 2, variances=null)
        zero += mixed.fit(grid_of(values, prompt_of)).recipe == 0

    assert 5 <= zero <= 17  # about half of all estimates lie on the border


def test_p_best_is_how_often_a_recipe_is_the_best(worlds):
    """Over worlds: recipes said to be best with 20 to 80 % are the best about as often."""
    rng, said, true = np.random.default_rng(2), [], []
    for _ in range(80):
        values, prompt_of, truth = worlds.scores(rng, 8, 8, 2)
        chances = posterior.effects(mixed.fit(grid_of(values, prompt_of))).p_best
        assert chances.sum() == pytest.approx(1)
        said += chances.tolist()
        true += (truth == truth.max()).tolist()
    said, true = np.array(said), np.array(true)
    middling = (said > 0.2) & (said < 0.8)

    error = (0.25 / middling.sum()) ** 0.5
    assert said[middling].mean() == pytest.approx(true[middling].mean(), abs=3 * error)


def test_ten_thousand_recipes_are_fitted_in_seconds(worlds):
    import time

    rng = np.random.default_rng(0)
    values = rng.normal(size=(10_000, 1)) + rng.normal(size=(10_000, 16))
    values[rng.random(values.shape) < 0.02] = np.nan  # many patterns of holes

    start = time.perf_counter()
    found = posterior.effects(mixed.fit(grid_of(values, np.arange(16) % 8)))

    assert time.perf_counter() - start < 20
    assert found.p_best.sum() == pytest.approx(1)
    assert found.draws.nbytes <= 80_000_000
