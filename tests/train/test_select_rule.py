"""Select: the rule holds on runs whose truth is known, and says what it does in plain words."""

from dataclasses import replace

import numpy as np
import pytest

from teststrip.errors import ConfigError
from teststrip.evidence.ranking import BETTER
from teststrip.testing.trainings import SCORE, STEPS, peak, run_of, world
from teststrip.train.select.copies import copies_of
from teststrip.train.select.rule import Options, choose
from teststrip.train.select.seeds import crossed_p
from teststrip.train.select.trend import FALLING, LEVEL, OVERFIT
from teststrip.train.select.words import as_dict, lines, why

WORLDS = 40


@pytest.mark.parametrize("heavy", [False, True])
def test_the_truly_best_checkpoint_is_in_the_answer(heavy):
    found = []
    for number in range(WORLDS):
        best = STEPS[number % len(STEPS)]
        choice = choose(world(number, worth=peak(best, 1.0), heavy=heavy))
        if choice.leader is not None:
            found.append(best in choice.answer)
    assert len(found) >= 0.95 * WORLDS
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("heavy", [False, True])
def test_with_no_effect_it_refuses(heavy):
    answers = [choose(world(n, heavy=heavy)).leader for n in range(WORLDS)]
    assert sum(a is not None for a in answers) <= 0.05 * WORLDS + 2 * (0.05 * 0.95 * WORLDS) ** 0.5


def test_a_checkpoint_that_is_worse_than_the_base_is_never_named():
    for number in range(20):
        worth = [-1.0] * 5 + [0.0] * 5
        choice = choose(world(number, worth=worth))
        assert choice.leader not in STEPS[:5]
        assert not set(choice.answer) & set(STEPS[:5])


def test_over_fitting_is_seen_and_not_invented():
    seen = [choose(world(n, worth=peak(400, 1.0))).trend for n in range(10)]
    assert all(t.word == OVERFIT and t.since < t.last == 1000 for t in seen)
    none = [choose(world(n), Options(by="loss")).trend.word for n in range(40)]
    assert none.count(OVERFIT) <= 4
    rising = [-4.0] * 9 + [4.0]
    assert choose(world(1, worth=rising)).trend.word == FALLING
    assert choose(world(1, worth=[2.0] * 10)).trend.word == LEVEL


def test_what_loss_forbids_a_score_cannot_bring_back():
    over = world(1, worth=peak(300, 2.0))
    better_later = world(1, worth=peak(900, 2.0))
    run = run_of(over.held_out, better_later.samples, {SCORE: True})
    choice = choose(run)
    assert 900 not in choice.answer
    assert "held-out loss is higher" in choice.out[900]


def test_each_measure_alone_will_do():
    good = world(2, worth=peak(500, 1.5))
    assert choose(run_of(good.held_out, None, {})).leader is not None
    assert choose(run_of(None, good.samples, good.scores)).leader is not None
    assert choose(good, Options(by="loss")).score is None
    assert choose(good, Options(by="score")).loss is None


def test_with_neither_it_refuses_and_says_what_to_train_with():
    choice = choose(run_of(None, None, {}))
    assert choice.leader is None
    assert "data.held_out above 0" in why(choice)
    assert "validation.prompts" in why(choice)


def test_where_every_checkpoint_harms_it_says_so():
    choice = choose(world(1, worth=[-3.0] * 10))
    assert choice.leader is None
    assert "no checkpoint is left" in why(choice)
    assert not choice.silent


def test_three_pictures_are_no_evidence_however_clear_they_look():
    clear = world(1, worth=[9.0] * 10, pictures=3, prompts=3, interplay=0.01, residual=0.01)
    choice = choose(clear)
    assert choice.leader is None
    assert "3 held-out pictures" in why(choice)
    assert "below 4" in why(choice)


def test_a_refusal_says_how_many_more_would_settle_it():
    choice = choose(world(3))
    assert choice.leader is None
    assert "would settle it" in why(choice)
    assert "12 held-out pictures" in why(choice)


def test_without_the_base_model_nothing_is_claimed():
    run = world(2, worth=peak(500, 1.5))
    run = run_of(
        run.held_out[run.held_out["step"] > 0], run.samples[run.samples["step"] > 0], run.scores
    )
    choice = choose(run)
    assert choice.leader is None
    assert "step 0" in why(choice)


def test_numbers_that_are_not_finite_are_no_scores():
    run = world(2, worth=peak(500, 1.5))
    held = run.held_out.copy()
    held.loc[held["step"] == 500, "loss"] = float("nan")
    choice = choose(run_of(held, run.samples, run.scores))
    assert 500 not in choice.answer
    nothing = run.held_out.assign(loss=float("nan"))
    assert choose(run_of(nothing, None, {})).leader is None


def test_what_holds_on_the_runs_own_seeds_only_is_not_enough():
    alone = [choose(world(n, shared=0.5), Options(by="score")) for n in range(40)]
    fooled = [c for c in alone if any(r.verdict == BETTER for r in c.score.ranking.rows)]
    assert len(fooled) >= 8
    assert sum(c.leader is not None for c in fooled) <= len(fooled) / 2
    seen = [why(c) for c in fooled if c.leader is None]
    assert any("better on these seeds only" in text for text in seen)


def test_one_seed_says_nothing_of_others():
    run = world(2, worth=peak(500, 1.5), seeds=1)
    assert choose(run, Options(by="score")).leader is None
    assert choose(run).leader is not None


def test_prompts_and_seeds_are_both_counted_as_drawn():
    rng = np.random.default_rng(3)
    p = [crossed_p(rng.normal(size=(12, 1)) + rng.normal(size=(1, 4))) for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) <= 0.08
    assert crossed_p(1.0 + 0.1 * rng.normal(size=(12, 4))) < 0.001
    assert crossed_p(np.ones((12, 1))) == crossed_p(np.zeros((12, 2))) == 1.0


def test_equal_numbers_everywhere_are_no_evidence():
    run = world(2)
    flat = run_of(run.held_out.assign(loss=0.1), run.samples.assign(**{SCORE: 0.5}), run.scores)
    assert choose(flat).leader is None


def near(run, share, steps):
    samples = run.samples.copy()
    samples["nearest@1"] = 0.6
    hit = samples["step"].isin(steps) & (samples.groupby("step").cumcount() < share * 24)
    samples.loc[hit, "nearest@1"] = 0.99
    found = run_of(run.held_out, samples, run.scores | {"nearest@1": False})
    return replace(found, honest=tuple(np.linspace(0.5, 0.9, 12)))


def test_a_checkpoint_that_copies_training_pictures_is_out():
    run = world(1, worth=peak(400, 1.0))
    before = choose(run).answer
    choice = choose(near(run, 0.5, [400]))
    assert 400 in before
    assert 400 not in choice.answer
    assert "memorised" in choice.out[400]
    assert copies_of(near(run, 0.5, [400]))[400].copies == 12


def test_nearness_that_the_base_model_has_too_is_no_copying():
    run = world(1, worth=peak(400, 1.0))
    assert 400 in choose(near(run, 0.5, [0, *STEPS])).answer


def test_the_nearness_score_never_decides():
    run = near(world(1, worth=peak(400, 1.0)), 0.0, [])
    assert choose(run).score.name == SCORE
    only = run_of(None, run.samples.drop(columns=SCORE), {"nearest@1": False})
    assert choose(only).leader is None


def test_a_score_is_found_by_the_start_of_its_name_or_refused():
    run = world(1, worth=peak(400, 1.0))
    assert choose(run, Options(score="like")).score.name == SCORE
    with pytest.raises(ConfigError, match=SCORE):
        choose(run, Options(score="beauty"))


def test_prompts_that_are_kept_back_are_not_looked_at():
    run = world(1, worth=peak(400, 1.0))
    kept = tuple(f"p{n}" for n in range(4))
    choice = choose(run, Options(keep_back=kept))
    assert choice.score.units == 8
    spoiled = run.samples.copy()
    spoiled.loc[spoiled["prompt_id"].isin(kept), SCORE] = -99.0
    again = choose(run_of(run.held_out, spoiled, run.scores), Options(keep_back=kept))
    assert as_dict(again)["criteria"] == as_dict(choice)["criteria"]


def test_an_answer_is_never_told_without_its_numbers():
    choice = choose(world(1, worth=peak(400, 1.0)))
    text = why(choice)
    assert f"Step {choice.leader}" in text
    assert "12 held-out pictures" in text
    assert " to " in text
    assert any("97.5 % intervals" in line for line in lines(choice))
    rows = as_dict(choice)["criteria"][0]["steps"]
    assert {"n", "low", "high", "p_holm"} <= set(rows[0])
