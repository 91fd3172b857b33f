"""Whatever the table holds: what can be concluded, and never a crash or a made-up number.

Each world below goes through everything that draws conclusions. Warnings are errors in these tests
(pyproject.toml), so a silent division by zero fails them, too.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from teststrip.errors import ConfigError, StudyError
from teststrip.evidence import markdown
from teststrip.evidence.analysis import analyse
from teststrip.evidence.answer import answer
from teststrip.evidence.compare import Comparison
from teststrip.evidence.interval import Interval
from teststrip.evidence.people import Vote
from teststrip.evidence.ranking import BETTER, WORSE
from teststrip.evidence.report import render
from teststrip.evidence.summary import recipe_metrics, summarise
from teststrip.evidence.table import checked

HTML = "<script>alert('x')</script> & <b>grüne Äpfel</b> 緑のりんご \u202e"


def frame(worlds, recipes=6, prompts=8, seeds=2, seed=0, **settings):
    rng = np.random.default_rng(seed)
    values, prompt_of, _ = worlds.scores(rng, recipes, prompts, seeds)
    made = worlds.frame(values, prompt_of)
    made["other@1"] = made["clip@1"] + rng.normal(0, 0.5, len(made))
    return made.assign(**settings)


def with_scores(made, change):
    made["clip@1"] = change(made["clip@1"].to_numpy(copy=True), np.random.default_rng(5))
    return made


def some(share, value):
    return lambda v, rng: np.where(rng.random(len(v)) < share, value, v)


def half_of_the_blocks_missing(worlds):
    made = frame(worlds, recipes=8)
    return made.sample(frac=0.5, random_state=1).sort_index()


def baseline_failed(worlds):
    made = frame(worlds)
    failed = made["recipe_id"] == "r000"
    made.loc[failed, ["clip@1", "other@1"]] = np.nan
    return made.assign(
        status=np.where(failed, "failed", "ok"), reason=np.where(failed, "out of memory", "")
    )


def held_out(worlds, missing):
    """Search images and a confirmation of r000 to r003 that lacks some, or all, of its scores."""
    rest = frame(worlds, recipes=4, prompts=4, seed=9).assign(split="held_out")
    rest["prompt_id"] = "h" + rest["prompt_id"]
    rest.loc[rest["recipe_id"].isin(missing), "clip@1"] = np.nan
    return pd.concat([frame(worlds).assign(split="search"), rest], ignore_index=True)


def as_text(worlds):
    """Numbers as a hasty export writes them: seeds and settings in quotes."""
    made = frame(worlds)
    return made.assign(**{n: made[n].astype(str) for n in ("seed", "recipe.steps", "block")})


WORLDS = {
    "one prompt": lambda w: frame(w, prompts=1, seeds=8),
    "one seed": lambda w: frame(w, seeds=1),
    "one prompt, one seed": lambda w: frame(w, prompts=1, seeds=1),
    "one recipe": lambda w: frame(w, recipes=1),
    "one image": lambda w: frame(w, recipes=1, prompts=1, seeds=1),
    "two images": lambda w: frame(w, recipes=2, prompts=1, seeds=1),
    "two recipes, two prompts": lambda w: frame(w, recipes=2, prompts=2, seeds=1),
    "all scores equal": lambda w: with_scores(frame(w), lambda v, rng: np.full(len(v), 0.25)),
    "all scores zero": lambda w: with_scores(frame(w), lambda v, rng: np.zeros(len(v))),
    "scores 0 or 1": lambda w: with_scores(frame(w), lambda v, rng: (v > 0).astype(float)),
    "scores by recipe alone": lambda w: with_scores(frame(w), lambda v, rng: np.arange(96) // 16),
    "scores by prompt alone": lambda w: with_scores(frame(w), lambda v, rng: np.arange(96) % 8),
    "huge scores": lambda w: with_scores(frame(w), lambda v, rng: 1e12 + 1e9 * v),
    "tiny scores": lambda w: with_scores(frame(w), lambda v, rng: 1e-12 * v),
    "one outlier": lambda w: with_scores(frame(w), lambda v, rng: np.r_[1e9, v[1:]]),
    "some NaN": lambda w: with_scores(frame(w), some(0.1, np.nan)),
    "some infinite": lambda w: with_scores(frame(w), some(0.1, np.inf)),
    "some minus infinite": lambda w: with_scores(frame(w), some(0.1, -np.inf)),
    "half of the blocks missing": half_of_the_blocks_missing,
    "a constant scorer": lambda w: frame(w, **{"flat@1": 3.0}),
    "an empty scorer": lambda w: frame(w, **{"empty@1": np.nan}),
    "an infinite scorer": lambda w: frame(w, **{"wild@1": np.inf}),
    "a baseline that always failed": baseline_failed,
    "held out, all there": lambda w: held_out(w, []),
    "held out, baseline missing": lambda w: held_out(w, ["r000"]),
    "held out, all missing": lambda w: held_out(w, ["r000", "r001", "r002", "r003"]),
    "held out, one missing": lambda w: held_out(w, ["r002"]),
    "prompts of the same text": lambda w: frame(w, prompt="a cup"),
    "HTML everywhere": lambda w: frame(
        w, prompt=HTML, tags=HTML, **{"recipe.scheduler": HTML, "recipe.model": HTML}
    ),
    "numbers as text": as_text,
    "no seconds": lambda w: frame(w, seconds=np.nan),
    "seconds of 0": lambda w: frame(w, seconds=0.0),
    "no settings": lambda w: frame(w).drop(columns=["recipe.steps", "recipe.guidance"]),
    "unequal seeds": lambda w: frame(w).iloc[:-3],
}
NO_BASELINE = {"baseline": None}
NO_NUMBER = r"(?<![\w-])(?:nan|NaN|inf|Infinity|None(?! of\b))(?![\w-])"


@pytest.fixture(scope="module")
def analysed(worlds, facts):
    """`analysed(world, **facts)`: the analysis of a world; the baseline is r000 unless said."""
    kept = {}

    def get(name, **changes):
        key = (name, *sorted(changes.items()))
        if key not in kept:
            own = facts(**({"threshold": 0.5, "delta": 0.1, "design": "grid"} | changes))
            kept[key] = analyse(checked(WORLDS[name](worlds)), own, VOTES)
        return kept[key]

    return get


VOTES = [
    Vote(f"p{i % 3:02d}", i % 2, f"r{i % 2:03d}", f"r{1 - i % 2:03d}", ("left", "tie")[i % 3 == 0])
    for i in range(12)
]
EACH = pytest.mark.parametrize("world", WORLDS)
EACH_TWICE = pytest.mark.parametrize("changes", [{}, NO_BASELINE], ids=["baseline", "alone"])


def parts(value, kind):
    """Every instance of `kind` inside a conclusion."""
    if isinstance(value, kind):
        yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name), kind)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from parts(inner, kind)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from parts(inner, kind)


@EACH_TWICE
@EACH
def test_every_interval_has_its_n_and_order(analysed, world, changes):
    analysis = analysed(world, **changes)
    exact = {id(s.passes) for s in analysis.standings.values()}  # Clopper-Pearson needs one image

    for found in parts(analysis, Interval):
        assert (found.low is None) == (found.high is None)
        if found.low is not None:
            assert found.units >= 2 or (id(found) in exact and found.units == 1)
            assert np.isfinite([found.low, found.mean, found.high]).all()
            span = max(abs(found.low), abs(found.high), 1e-300)
            assert found.low <= found.mean + 1e-9 * span
            assert found.mean <= found.high + 1e-9 * span
        if math.isfinite(found.mean):
            assert found.units >= 1


@EACH_TWICE
@EACH
def test_one_unit_has_no_p_value_and_no_verdict(analysed, world, changes):
    analysis = analysed(world, **changes)

    for row in analysis.ranking.rows:
        assert 0 <= row.p <= 1
        assert 0 <= row.p_holm <= 1
        if row.gain.units < 2:
            assert (row.p, row.p_holm) == (1.0, 1.0)
            assert row.verdict not in (BETTER, WORSE)
    for pair in parts(analysis, Comparison):
        ps = (pair.p_t, pair.p_wilcoxon, pair.p_permutation, pair.p_holm)
        assert all(0 < p <= 1 for p in ps)
        if pair.gain.units < 2:
            assert set(ps) == {1.0}
            assert pair.verdict not in (BETTER, WORSE)


@EACH_TWICE
@EACH
def test_no_verdict_contradicts_its_interval(analysed, world, changes):
    analysis = analysed(world, **changes)

    for row in (*analysis.ranking.rows, *parts(analysis, Comparison)):
        if row.verdict == BETTER:
            assert row.gain.low > 0
        if row.verdict == WORSE:
            assert row.gain.high < 0


@EACH_TWICE
@EACH
def test_chances_and_shares_are_between_0_and_1(analysed, world, changes):
    analysis = analysed(world, **changes)

    best = [s.p_best for s in analysis.standings.values() if s.p_best is not None]
    assert all(0 <= p <= 1 for p in best)
    assert sum(best) <= 1 + 1e-9
    shares = analysis.variance.shares if analysis.variance else ()
    assert all(0 <= s.share <= 1 and s.variance >= 0 for s in shares)
    for standing in analysis.standings.values():
        if standing.passes is not None and math.isfinite(standing.passes.mean):
            assert 0 <= standing.passes.mean <= 1


@EACH_TWICE
@EACH
def test_the_summary_is_json_without_nan(analysed, world, changes):
    analysis = analysed(world, **changes)

    text = json.dumps(summarise(analysis), allow_nan=False)

    assert json.loads(text)["answer"]
    for numbers in recipe_metrics(analysis).values():
        assert np.isfinite(list(numbers.values())).all()


@EACH
def test_the_page_shows_no_nan_and_nothing_typed_by_a_user_runs(analysed, world):
    page = render(analysed(world), no_picture)

    seen = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    words = re.sub(r"<[^>]*>", " ", seen)
    assert not re.findall(NO_NUMBER, words)
    assert "<script>alert" not in page
    assert "<b>grüne" not in page


@EACH
def test_the_note_for_a_merge_request_shows_no_nan_either(analysed, world):
    text = markdown.render(analysed(world))

    assert not re.findall(NO_NUMBER, text)
    assert "<script" not in text


def no_picture(path):
    raise OSError(f"{path}: not there")


@EACH_TWICE
@EACH
def test_the_answer_claims_only_what_two_units_or_more_say(analysed, world, changes):
    analysis = analysed(world, **changes)

    said = answer(analysis)

    best = analysis.ranking.row(analysis.ranking.best)
    assert said.headline.endswith(".")
    assert not re.search(NO_NUMBER, f"{said.headline} {said.detail} {said.caveat}")
    if said.found:
        assert analysis.ranking.prompts > 1 or best.gain.units > 1


def test_one_prompt_is_never_spoken_of_as_all_prompts(worlds, facts):
    effect = np.array([0.0, 3.0, 0.0])
    values, prompt_of, _ = worlds.scores(np.random.default_rng(1), 3, 1, 16, effect)

    for baseline in ("r000", None):
        own = facts(baseline=baseline)
        said = answer(analyse(checked(worlds.frame(values, prompt_of)), own))

        assert said.found
        assert "on the one prompt that was tried" in said.headline
        assert "nothing is known of any other" in said.caveat


def test_a_leader_without_held_out_images_is_not_said_to_be_behind(analysed):
    said = answer(analysed("held out, one missing"))

    assert "without a scored image" in said.detail
    assert "behind" not in said.detail


@pytest.mark.parametrize("world", ["all scores equal", "all scores zero", "scores by prompt alone"])
def test_scores_that_cannot_differ_claim_nothing(analysed, world):
    analysis = analysed(world)

    assert not answer(analysis).found
    assert not analysis.ranking.better
    assert not [row for row in analysis.ranking.rows if row.verdict in (BETTER, WORSE)]
    assert set(analysis.ranking.best_set) == {r.recipe_id for r in analysis.ranking.rows}


@pytest.mark.parametrize(
    ("share", "message"),
    [(1.0, "none of its 96 images has a score"), (0.8, "failed on more than a quarter")],
)
def test_next_to_no_scores_are_a_clear_error(worlds, facts, share, message):
    table = checked(with_scores(frame(worlds), some(share, np.nan)))

    with pytest.raises(StudyError, match=message):
        analyse(table, facts())


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e6])
def test_the_unit_of_the_score_changes_no_verdict(worlds, facts, factor):
    made = frame(worlds, recipes=8, prompts=12)
    plain = analyse(checked(made), facts()).ranking

    scaled = analyse(checked(made.assign(**{"clip@1": factor * made["clip@1"]})), facts()).ranking

    assert [(r.recipe_id, r.verdict) for r in scaled.rows] == [
        (r.recipe_id, r.verdict) for r in plain.rows
    ]
    assert scaled.best_set == plain.best_set


@pytest.mark.parametrize("seed", ["x", None, 1.5, -1, np.inf])
def test_a_seed_that_is_no_whole_number_is_a_clear_error(worlds, seed):
    made = frame(worlds).astype({"seed": object})
    made.loc[3, "seed"] = seed

    with pytest.raises(ConfigError, match="'seed': 1 rows"):
        checked(made)


def test_numbers_written_as_text_are_the_same_numbers(analysed, worlds, facts):
    own = facts(threshold=0.5, delta=0.1, design="grid")
    plain = analyse(checked(frame(worlds)), own, VOTES)

    text = analysed("numbers as text")

    assert text.agreement == plain.agreement
    assert [r.verdict for r in text.ranking.rows] == [r.verdict for r in plain.ranking.rows]


def test_a_baseline_that_is_not_there_is_a_clear_error(worlds, facts):
    with pytest.raises(ConfigError, match="'nobody' is not in the table"):
        analyse(checked(frame(worlds)), facts(baseline="nobody"))


def test_a_baseline_that_always_failed_beats_nobody_and_loses_to_nobody(analysed):
    analysis = analysed("a baseline that always failed")

    assert analysis.ranking.baseline is None
    assert analysis.coverage.unusable == ("r000",)
    assert "better than the baseline" not in answer(analysis).headline


def test_a_confirmation_without_its_baseline_supports_nobody(analysed):
    for world in ("held out, baseline missing", "held out, all missing"):
        confirmed = analysed(world).confirmed

        assert confirmed is None or not confirmed.supported


def test_ten_thousand_recipes_on_four_blocks(worlds, facts):
    rng = np.random.default_rng(3)
    values, prompt_of, _ = worlds.scores(rng, 10_000, 4, 1)
    i, b = np.indices(values.shape)
    table = checked(
        pd.DataFrame(
            {
                "recipe_id": np.char.add("r", np.char.zfill(i.ravel().astype(str), 3)),
                "prompt_id": np.char.add("p", prompt_of[b.ravel()].astype(str)),
                "seed": 0,
                "block": b.ravel(),
                "recipe.steps": i.ravel() % 50,
                "recipe.guidance": (i.ravel() // 50) / 10,
                "seconds": 1.0 + i.ravel() % 7,
                "clip@1": values.ravel(),
            }
        )
    )

    analysis = analyse(table, facts(design="grid"))

    assert len(analysis.ranking.rows) == 10_000
    assert json.dumps(summarise(analysis), allow_nan=False)
    assert len(render(analysis, no_picture)) < 5_000_000


def test_the_same_table_gives_the_same_numbers(worlds, facts):
    table = checked(held_out(worlds, []))
    own = facts(threshold=0.5, design="grid")

    first, second = (summarise(analyse(table, own, VOTES)) for _ in range(2))

    assert first == second
