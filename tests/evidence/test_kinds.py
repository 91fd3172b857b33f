import numpy as np
import pytest

from teststrip.evidence.grid import build
from teststrip.evidence.kinds import kinds
from teststrip.evidence.ranking import rank
from teststrip.evidence.table import checked


@pytest.fixture
def tagged(worlds, facts):
    """Recipe 1 is better by 3 on animals, worse by .5 on food; 8 prompts of each, one of both."""
    rng = np.random.default_rng(1)
    values, prompt_of, _ = worlds.scores(rng, 2, 16, 2, effect=[0, 0])
    animal = prompt_of < 8
    values[1] += np.where(animal, 3.0, -0.5)
    frame = worlds.frame(values, prompt_of)
    place = frame["prompt_id"].str[1:].astype(int)
    frame["tags"] = np.where(place < 8, "animal", "food") + np.where(place == 3, ";food", "")
    return checked(frame), facts()


def test_the_best_recipe_may_lose_on_one_kind_of_prompt(tagged):
    table, facts = tagged
    grid = build(table, facts)

    found = kinds(table, grid, rank(table, facts, grid), 0.95)

    assert [kind.tag for kind in found] == ["food", "animal"]
    food, animal = found
    assert animal.gain.low > 0
    assert animal.p < 0.05
    assert (animal.prompts, animal.images, food.prompts, food.images) == (8, 16, 9, 18)


def test_without_tags_or_without_a_gain_there_is_nothing_to_split(study, facts):
    table, _ = study()
    grid = build(table, facts())

    assert kinds(table, grid, rank(table, facts(), grid), 0.95) == ()


def test_a_tag_of_one_prompt_has_no_interval_and_no_p(tagged):
    table, facts = tagged
    table.loc[table["prompt_id"] == "p00", "tags"] = "rare"
    grid = build(table, facts)

    rare = next(k for k in kinds(table, grid, rank(table, facts, grid), 0.95) if k.tag == "rare")

    assert not rare.gain.known
    assert (rare.p, rare.prompts) == (1.0, 1)
