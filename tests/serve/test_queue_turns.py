"""Turns: urgent first, owners in turn, nobody waits for ever."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from teststrip.serve.queue.base import Lane, all_lanes, lane_of
from teststrip.serve.queue.turns import Turns, in_order


def test_an_owner_keeps_its_lane():
    assert lane_of("api", "ann") == lane_of("api", "ann")
    assert len({lane_of("api", f"owner {n}").number for n in range(100)}) == 4
    assert len(all_lanes()) == 12
    assert str(Lane("people", 3)) == "people.3"


def test_shares_of_priorities_that_all_wait():
    jobs = {lane: [lane.priority] * 1000 for lane in all_lanes()}
    taken = list(islice(in_order(jobs), 210))
    assert {p: taken.count(p) for p in ("people", "api", "sweep")} == {
        "people": 160,
        "api": 40,
        "sweep": 10,
    }


def test_owners_of_one_priority_take_turns():
    many, few = Lane("people", 0), Lane("people", 1)
    assert list(in_order({many: "aaaa", few: "bb"})) in (list("ababaa"), list("babaaa"))


def test_a_person_passes_ten_thousand_sweep_jobs():
    jobs = {Lane("sweep", 0): ["sweep"] * 10_000, Lane("people", 2): ["person"]}
    assert "person" in list(islice(in_order(jobs), 2))


def test_who_was_not_there_saves_no_turns_up():
    turns, sweep, people = Turns(), Lane("sweep", 0), Lane("people", 0)
    for _ in range(1000):
        turns.took(sweep, [sweep])
    assert turns.order([sweep, people])[0] == people


@given(st.dictionaries(st.sampled_from(all_lanes()), st.integers(0, 30)))
def test_all_are_taken_once_and_each_lane_in_order(lengths):
    jobs = {lane: [(lane, n) for n in range(length)] for lane, length in lengths.items()}
    taken = list(in_order(jobs))
    for lane, mine in jobs.items():
        assert [job for job in taken if job[0] == lane] == mine
    assert len(taken) == sum(lengths.values())


@given(st.lists(st.sets(st.sampled_from(all_lanes()), min_size=1), min_size=1, max_size=300))
def test_no_lane_that_waits_is_passed_over_for_ever(rounds):
    """One of four sweep lanes gets one turn in 21 of its priority: at most 84 go before it."""
    turns, starving = Turns(), all_lanes()[-1]
    for passed in range(200):
        waiting = rounds[passed % len(rounds)] | {starving}
        lane = turns.order(waiting)[0]
        turns.took(lane, waiting)
        if lane == starving:
            return
    raise AssertionError("200 others went first")
