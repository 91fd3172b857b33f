"""Who is in the next forward: laws of the queue, without a tensor."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teststrip.engine.scheduler import StepScheduler


@dataclass(eq=False)
class Rider:
    rows: int = 1
    batch_key: str = "a"
    calls: int = 1


def drain(scheduler: StepScheduler[Rider], limit: int = 100_000) -> list[list[Rider]]:
    batches = []
    while len(scheduler) and len(batches) < limit:
        batch = scheduler.next_batch()
        batches.append(batch)
        for rider in batch:
            rider.calls -= 1
            if rider.calls == 0:
                scheduler.remove(rider)
    return batches


riders = st.lists(
    st.builds(Rider, st.sampled_from([1, 2]), st.sampled_from("abc"), st.integers(1, 9)),
    max_size=60,
)


@given(riders, st.integers(2, 16), st.integers(0, 8))
def test_every_request_flies_and_no_forward_is_too_large_or_mixed(
    crowd: list[Rider], max_rows: int, patience: int
) -> None:
    scheduler: StepScheduler[Rider] = StepScheduler(max_rows, patience)
    for rider in crowd:
        scheduler.add(rider)

    batches = drain(scheduler)

    assert all(rider.calls == 0 for rider in crowd)
    for batch in batches:
        assert 0 < sum(rider.rows for rider in batch) <= max_rows
        assert len({rider.batch_key for rider in batch}) == 1


def test_rows_are_full_as_long_as_somebody_fits() -> None:
    scheduler: StepScheduler[Rider] = StepScheduler(8)
    for calls in (5, 1, 1, 1, 5, 5, 5, 5, 2, 2):
        scheduler.add(Rider(rows=2, calls=calls))

    batches = drain(scheduler)

    assert [sum(r.rows for r in batch) for batch in batches[:5]] == [8] * 5


def test_an_endless_stream_of_one_size_does_not_starve_the_other() -> None:
    scheduler: StepScheduler[Rider] = StepScheduler(2, patience=5)
    scheduler.add(Rider(batch_key="big", calls=1))
    lonely = Rider(batch_key="small", calls=1)
    scheduler.add(lonely)

    flown = 0
    while lonely.calls and flown < 100:
        scheduler.add(Rider(batch_key="big", calls=2))
        for rider in scheduler.next_batch():
            rider.calls -= 1
            if rider.calls == 0:
                scheduler.remove(rider)
        flown += 1

    assert flown < 25


def test_a_removed_request_frees_its_rows_at_the_next_step() -> None:
    scheduler: StepScheduler[Rider] = StepScheduler(2)
    first, second = Rider(rows=2, calls=50), Rider(rows=2)
    scheduler.add(first)
    scheduler.add(second)
    assert scheduler.next_batch() == [first]

    scheduler.remove(first)

    assert scheduler.next_batch() == [second]


def test_halved_rows_make_some_sit_out_and_lose_nobody() -> None:
    scheduler: StepScheduler[Rider] = StepScheduler(8)
    crowd = [Rider(rows=2, calls=3) for _ in range(6)]
    for rider in crowd:
        scheduler.add(rider)
    assert len(scheduler.next_batch()) == 4

    scheduler.max_rows = 4
    drain(scheduler)

    assert all(rider.calls == 0 for rider in crowd)


@pytest.mark.parametrize(("patience", "order"), [(3, "aaaabbbbbbaa"), (64, "aaaaaabbbbbb")])
def test_those_with_the_last_batch_key_come_next_as_long_as_others_have_patience(
    patience: int, order: str
) -> None:
    scheduler: StepScheduler[Rider] = StepScheduler(1, patience)
    for number in range(12):
        scheduler.add(Rider(batch_key="ab"[number % 2]))

    batches = drain(scheduler)

    assert "".join(rider.batch_key for (rider,) in batches) == order
