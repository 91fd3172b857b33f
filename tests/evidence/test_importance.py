"""What matters, and what only seems to: shares, null bands, refusals."""

import itertools

import numpy as np
import pandas as pd
import pytest

from teststrip.evidence import anova
from teststrip.evidence.grid import build
from teststrip.evidence.importance import importance
from teststrip.evidence.table import checked
from teststrip.evidence.terms import basis, product

FIELDS = ("guidance", "steps", "scheduler", "rescale", "dummy_a", "dummy_b")
SEARCHED = ("guidance", "steps", "scheduler", "rescale")


def sobol(rng, recipes):
    from scipy.stats import qmc

    u = qmc.Sobol(d=6, scramble=True, rng=rng).random_base2(6)[:recipes]
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

    rows = np.random.default_rng(0).permutation(36)[:34]  # a full grid is judged by prompt
    settings = {name: values[rows] for name, values in full().items()}
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


def by_name(terms):
    return {term.name: term for term in terms}


def test_shares_and_the_unexplained_add_up_where_the_design_is_balanced(world):
    settings = full()
    effect = 0.1 * settings["guidance"] + 0.5 * (settings["scheduler"] == "euler")
    table, facts, grid = world(settings, effect + 0.02 * settings["steps"] + settings["rescale"])

    found = importance(table, facts, grid)

    assert all(term.shown for term in found.mains)
    assert not any(term.shown for term in found.pairs)
    assert sum(t.share.mean for t in found.mains) + found.unexplained == pytest.approx(1, abs=1e-9)


def test_planted_parameters_are_shown_and_dummies_hardly_ever(world):
    dummies = 0
    for seed in range(20):
        settings = sobol(np.random.default_rng(seed), 64)
        effect = 0.15 * settings["guidance"] + 0.5 * (settings["scheduler"] == "ddim")
        found = importance(*world(settings, effect, seed=seed))
        mains = by_name(found.mains)

        assert found.mains[0].name == "guidance"
        assert mains["guidance"].shown
        assert mains["scheduler"].shown
        dummies += mains["dummy_a"].shown or mains["dummy_b"].shown
        for term in found.mains + found.pairs:
            assert 0 <= term.share.low <= term.share.mean <= term.share.high <= 1
            assert term.shown == (term.p <= 0.05) == (term.share.mean > term.band)
            assert term.is_dummy == term.name.startswith("dummy")

    assert dummies <= 4  # P(5 or more of 20 at 5 %) = 0.3 %


def test_what_dummies_reached_is_said_and_said_loudly_where_they_stand_out(world):
    settings = sobol(np.random.default_rng(0), 64)
    honest = importance(*world(settings, 0.15 * settings["guidance"]))
    haunted = importance(*world(settings, 1.0 * settings["dummy_a"]))

    assert any(note.startswith("Parameters that do nothing reached") for note in honest.notes)
    assert any(note.startswith("Do not trust this ranking: dummy_a") for note in haunted.notes)


def test_a_planted_interaction_is_found_and_its_aliases_are_not(world):
    """In 64 points of a Sobol sequence pairs overlap: tested alone, others would be shown too."""
    others = alone = 0
    for seed in range(20):
        settings = sobol(np.random.default_rng(seed), 64)
        effect = 0.1 * (settings["guidance"] - 5.5) * (settings["steps"] - 28) / 5
        found = importance(*world(settings, effect, seed=seed))
        shown = [t.fields for t in found.pairs if t.shown]

        assert shown[0] == ("guidance", "steps")
        others += len(shown) > 1
        columns = {n: basis(n, v.tolist()) for n, v in settings.items()}
        rest = anova.span([b.columns for b in columns.values()], 64)
        pair = product(columns["scheduler"], columns["rescale"], 10)
        alone += anova.share(anova.piece(pair, rest), effect - effect.mean()) > 0.1

    assert others <= 4
    assert alone > 0


def test_where_nothing_matters_nothing_is_shown(world):
    shown = 0
    for seed in range(40):
        settings = sobol(np.random.default_rng(seed), 32)
        found = importance(*world(settings, np.zeros(32), seed=seed))
        shown += any(t.shown for t in found.mains)

    assert shown <= 5  # P(6 or more of 40 at 5 %) = 1.4 %


def test_the_same_table_gives_the_same_numbers(world):
    study = world(sobol(np.random.default_rng(0), 32), np.zeros(32))

    assert importance(*study) == importance(*study)


def test_a_score_where_lower_is_better_gives_the_same_shares(world):
    settings = sobol(np.random.default_rng(0), 32)
    table, facts, grid = world(settings, 0.1 * settings["guidance"])
    turned = table.assign(**{"clip@1": -table["clip@1"]})
    about = type(facts)(**(vars(facts) | {"higher_is_better": False}))

    assert importance(turned, about, build(turned, about)) == importance(table, facts, grid)


@pytest.mark.parametrize("design", ["tpe", "gp", "nsga2"])
def test_an_adaptive_history_is_refused_with_the_command_for_a_screening_study(world, design):
    settings = sobol(np.random.default_rng(0), 32)
    found = importance(*world(settings, np.zeros(32), design=design, source="search.yaml"))

    assert found.mains == found.pairs == ()
    assert design in found.refused
    assert "teststrip study run search.yaml --set name=screen" in found.refused


def test_the_command_for_a_screening_study_is_one_that_the_study_reader_takes():
    import shlex
    from pathlib import Path

    from teststrip.evidence.confounding import command
    from teststrip.evidence.facts import StudyFacts
    from teststrip.study.load import read_study

    conf = Path(__file__).parents[2] / "conf" / "search.yaml"
    words = shlex.split(command(StudyFacts("s", "clip", source=str(conf))))
    changes = [after for word, after in itertools.pairwise(words) if word == "--set"]

    config = read_study(conf, changes)

    assert words[:4] == ["teststrip", "study", "run", str(conf)]
    assert (config.name, config.design.kind, config.design.trials) == ("screen", "sobol", 64)
    assert config.race.kind == "none"
    assert config.dummies == ("dummy_a",)


def test_a_table_of_unknown_design_is_judged_by_its_settings(world):
    rng = np.random.default_rng(0)
    drawn = {
        "guidance": rng.uniform(1, 10, 64),
        "steps": rng.integers(5, 50, 64),
        "scheduler": rng.choice(["a", "b", "c"], 64),
    }
    crowded = drawn | {"guidance": np.where(rng.random(64) < 0.7, 7.5, drawn["guidance"])}
    together = drawn | {"steps": np.round(5 * drawn["guidance"])}

    def judged(settings):
        return importance(*world(settings, np.zeros(len(settings["steps"])), design=""))

    assert "full grid" in judged(full()).notes[0]
    assert "random design" in judged(drawn).notes[0]
    assert "values crowd (guidance)" in judged(crowded).refused
    assert "settings changed together (guidance, steps)" in judged(together).refused
    assert "teststrip study run" in judged(together).refused


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler"])
def test_a_history_of_unknown_sampler_is_refused_where_it_crowds(world, sampler):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng(0)
    study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=0))
    for _ in range(60):
        trial = study.ask()
        x, y = trial.suggest_float("guidance", 1, 10), trial.suggest_float("rescale", 0, 1)
        study.tell(trial, (x - 4) ** 2 + y + 0.1 * rng.normal())
    settings = {n: np.array([t.params[n] for t in study.trials]) for n in ("guidance", "rescale")}

    found = importance(*world(settings, np.zeros(60), design=""))

    assert bool(found.refused) == (sampler == "TPESampler")


def test_settings_that_always_change_together_are_one(world):
    settings = sobol(np.random.default_rng(0), 32)
    settings["height"] = 8 * settings["steps"]
    found = importance(*world(settings, 0.05 * settings["steps"]))

    assert "height" not in by_name(found.mains)
    assert by_name(found.mains)["steps"].shown
    assert any("height always changed together with steps" in note for note in found.notes)


def test_a_setting_under_a_condition_is_judged_among_the_recipes_that_have_it(world):
    rng = np.random.default_rng(0)
    settings = sobol(rng, 64)
    ddim = settings["scheduler"] == "ddim"
    settings["eta"] = np.where(ddim, rng.uniform(0, 1, 64), 0.0)
    found = importance(*world(settings, 1.0 * ddim, prompts=16))

    assert by_name(found.mains)["scheduler"].shown
    assert not by_name(found.mains)["eta"].shown


def test_numbers_among_which_some_have_none_are_a_level_and_a_curve(world):
    rng = np.random.default_rng(0)
    settings = sobol(rng, 64)
    none = rng.random(64) < 0.3
    effect = np.where(none, 0.0, 0.2 * settings["guidance"] - 1)
    settings["guidance"] = np.array(
        [None if n else float(g) for n, g in zip(none, settings["guidance"], strict=True)],
        dtype=object,
    )
    found = importance(*world(settings, effect))

    assert found.mains[0].name == "guidance"
    assert found.mains[0].shown


def test_a_baseline_outside_the_space_is_no_point_of_the_design(world):
    settings = sobol(np.random.default_rng(0), 33)
    settings["guidance"][0], settings["dummy_a"][0], settings["dummy_b"][0] = 40, np.nan, np.nan
    table, facts, grid = world(settings, np.zeros(33), baseline="r000")

    assert importance(table, facts, grid).recipes == 32


def test_only_the_blocks_that_every_recipe_was_shown_count(world, worlds):
    settings = sobol(np.random.default_rng(0), 32)
    table, facts, grid = world(settings, 0.1 * settings["guidance"], seeds=2)
    prompt_of = np.tile(np.arange(8), 2)
    made = worlds.halving(grid.values, prompt_of)
    raced = table[made[table["recipe_id"].str[1:].astype(int), table["block"]]]
    first = table[table["block"] < 4]

    a, b = (importance(t, facts, build(t, facts)) for t in (raced, first))

    assert (a.blocks, a.mains) == (4, b.mains)
    assert any("4 prompts only" in note for note in a.notes)


BAD = {
    "one prompt": {"prompts": 1, "seeds": 4},
    "one image per recipe": {"prompts": 1, "seeds": 1},
}


@pytest.mark.parametrize("blocks", BAD.values(), ids=BAD)
def test_one_prompt_gives_shares_and_says_what_they_are_worth(world, blocks):
    settings = sobol(np.random.default_rng(0), 32)
    found = importance(*world(settings, 0.3 * settings["guidance"], **blocks))

    assert found.mains[0].shown
    assert any("one prompt" in note for note in found.notes)
    assert (found.mains[0].share.low is None) == (blocks["seeds"] == 1)


def test_what_cannot_be_judged_is_refused_in_a_sentence(world, worlds, facts):
    few = {"guidance": np.arange(6.0)}
    wide = sobol(np.random.default_rng(0), 10)
    same = {"guidance": np.full(12, 2.0)}
    flat = checked(worlds.frame(np.full((12, 4), 0.5), np.arange(4)))
    about = facts(design="grid")
    clear = "nothing to explain"
    named = {"template": np.array([f"a photo of {i}" for i in range(120)])}

    assert "6 recipes" in importance(*world(few, np.zeros(6))).refused
    assert "template has 120 values" in importance(*world(named, np.zeros(120))).refused
    assert "too few for 6 parameters" in importance(*world(wide, np.zeros(10))).refused
    assert "No setting has more than one value" in importance(*world(same, np.zeros(12))).refused
    assert clear in importance(flat, about, build(flat, about)).refused


def test_a_failing_study_leaves_what_is_complete(world):
    settings = sobol(np.random.default_rng(0), 32)
    table, facts, _ = world(settings, 0.2 * settings["guidance"])
    table.loc[table.index % 17 == 3, "clip@1"] = np.nan
    found = importance(table, facts, build(table, facts))

    assert found.mains[0].name == "guidance"
    assert np.isfinite(found.mains[0].share.mean)


def test_a_pair_that_the_design_cannot_tell_from_another_is_said_to_be_either(world):
    """A 2^(6-2) design: E = ABC, F = BCD, so that A x B and C x E are the same column."""
    a, b, c, d = np.array(list(itertools.product((-1, 1), repeat=4))).T
    settings = {"a": a, "b": b, "c": c, "d": d, "e": a * b * c, "f": b * c * d}

    found = importance(*world(settings, 1.0 * a * b, prompts=16, design="factorial"))

    assert found.pairs[0].fields == ("a", "b")
    assert found.pairs[0].shown
    assert any("a x b may also be c x e" in note for note in found.notes)
    assert not any(t.shown and t.fields == ("c", "e") for t in found.pairs)
