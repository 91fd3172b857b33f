"""The rules of change, where a clock or a history is wanted that no real state would have."""

import pytest

from teststrip.serve.state import rules

DAY = 86400.0


@pytest.fixture
def claim():
    """Claims a record at a moment: claim(found, copy, now)."""

    def make(found, copy, now, lease_s=60.0):
        return rules.claimed(copy, "w", lease_s, DAY)(found, now).answer

    return make


def test_a_fence_grows_where_the_clock_was_put_back(a_job, claim):
    record = a_job()
    first = claim(record, record, 2e9)
    second = claim(first, record, 2e9 - 7200)  # two hours back: that lease is none
    assert second.fence == first.fence + 1
    assert second.lease_until == 2e9 - 7200 + 60


def test_a_lease_is_kept_over_a_small_step_back(a_job, claim):
    record = a_job()
    first = claim(record, record, 2e9)
    assert claim(first, record, 2e9 - 30) is None
    assert claim(first, record, 2e9 + 59) is None
    assert claim(first, record, 2e9 + 60) is not None


def test_a_fence_and_a_version_grow_where_the_record_was_lost(a_job, claim):
    record = a_job()
    first = claim(record, record, 2e9)
    later = claim(None, record, 2e9 + 0.5)
    assert later.fence > first.fence
    assert later.version > first.version
    back = rules.restored(first)(None, 2e9 + 1).answer
    assert back.version > first.version
    assert back.fence == first.fence


def test_a_reason_is_kept_from_who_told_it_and_not_from_who_vanished(a_job, claim):
    record = a_job()
    first = claim(record, record, 1000.0)
    back = rules.moved(first.fence, "queued", {"reason": "store away"}, DAY)(first, 1001.0).answer
    second = claim(back, record, 1002.0)
    assert second.reason == "store away"
    third = claim(second, record, 1100.0)  # its lease ran out: it vanished
    assert third.reason is None
    assert third.attempt == 3


def test_a_message_of_an_ended_job_brings_nothing_back(a_job, claim):
    record = a_job()
    first = claim(record, record, 1000.0)
    done = rules.moved(first.fence, "done", {}, DAY)(first, 1001.0).answer
    ruling = rules.claimed(done, "w", 60, DAY)(None, 1002.0)
    assert ruling == rules.Ruling(None)


def test_a_message_of_a_running_job_is_nobodys(a_job, claim):
    record = a_job()
    first = claim(record, record, 1000.0)
    again = claim(None, first, 1001.0)  # its lease went with the data
    assert again.attempt == 2
    assert again.fence > first.fence


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(a_job, claim):
    record = a_job(cancel_asked=True)
    ruling = rules.claimed(record, "w", 60, DAY)(None, 1000.0)
    assert ruling.answer is None
    assert ruling.write.state == "cancelled"
