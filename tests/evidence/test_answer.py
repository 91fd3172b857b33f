"""The answer in words: no more surely than it is known."""

from dataclasses import replace

import numpy as np
import pytest

from teststrip.evidence.analysis import analyse
from teststrip.evidence.answer import answer, sentence_name, short
from teststrip.evidence.table import checked


def test_the_answer_never_claims_more_than_the_verdict(study, facts):
    for seed in range(3):
        table, _ = study(seed=seed, recipes=8)
        analysis = analyse(table, facts())
        ranking = analysis.ranking
        said = answer(analysis)
        is_better = ranking.row(ranking.best).verdict == "better"

        assert said.headline.endswith("is better than the baseline.") == is_better
        assert said.confirmed is None
        if ranking.best != ranking.baseline:
            assert "chosen on these same images" in said.caveat
            assert "confirmed" in said.caveat


def test_a_winner_is_said_with_what_to_expect_of_it(known):
    analysis, _ = known
    ranking, write = analysis.ranking, analysis.ranking.numbers
    shrunk = analysis.standings[ranking.best].gain

    for less in (shrunk.mean, 0.5 * shrunk.mean):
        standing = replace(
            analysis.standings[ranking.best], gain=replace(shrunk, mean=less, low=0.0)
        )
        changed = replace(analysis, standings={**analysis.standings, ranking.best: standing})
        caveat = answer(changed).caveat

        assert f"expect {write.signed(less)}" in caveat
        seen = write.signed(ranking.row(ranking.best).gain.mean)
        assert (f"not {seen}" in caveat) == (write.signed(less) != seen)


def test_a_confirmation_leads_the_answer(full):
    said = answer(full)

    assert said.headline.startswith("Confirmed on 12 prompts that the search never saw: ")
    assert said.found
    assert said.confirmed
    assert "The search promised" in said.detail
    assert "was not confirmed" not in said.detail


def test_a_second_leader_that_is_confirmed_does_not_hide_the_first_that_is_not(full):
    rows = full.confirmed.rows
    said = answer(replace(full, confirmed=replace(full.confirmed, supported=(rows[1].a,))))

    assert said.confirmed
    assert "was not confirmed" in said.detail


@pytest.mark.parametrize("leaders", [1, 2])
def test_what_is_not_confirmed_is_not_recommended(full, leaders):
    confirmed = replace(full.confirmed, rows=full.confirmed.rows[:leaders], supported=())
    said = answer(replace(full, confirmed=confirmed))

    assert said.headline.startswith("Not confirmed: ")
    assert said.confirmed is False
    assert not said.found
    assert "Keep the baseline" in said.caveat
    assert "is better than the baseline" not in said.headline.replace("none of the", "") or (
        "none of the 2 leaders" in said.headline
    )


def test_a_confirmation_that_could_not_be_judged_says_why(full):
    confirmed = replace(full.confirmed, rows=(), supported=(), note="no held-out image has a score")
    said = answer(replace(full, confirmed=confirmed))

    assert said.headline == "Not confirmed: no held-out image has a score."
    assert said.confirmed is False


def test_equal_scores_conclude_nothing(worlds, facts):
    table = checked(worlds.frame(np.full((4, 8), 0.5), np.arange(8)))

    said = answer(analyse(table, facts()))

    assert said.headline == "All scores are equal: nothing can be concluded."
    assert "32 images of 4 recipes" in said.detail
    assert not said.found


@pytest.mark.parametrize("baseline", ["r000", None])
def test_one_image_a_recipe_concludes_nothing(worlds, facts, baseline):
    values = np.random.default_rng(0).normal(size=(2, 1))
    said = answer(analyse(checked(worlds.frame(values, np.arange(1))), facts(baseline=baseline)))

    assert said.headline == "Too few images to tell any setting from another."
    assert not said.found


def test_a_dummy_is_no_part_of_a_recipes_name(known):
    analysis, _ = known
    row = replace(
        analysis.ranking.rows[0], settings={"steps": 8, "dummy_a": 0.3, "negative_prompt": "x" * 99}
    )

    assert sentence_name(row) == f"steps 8, negative_prompt {short('x' * 99)}"
    assert len(short("x" * 99)) == 60
