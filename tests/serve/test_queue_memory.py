"""What only the memory queue has: its file of dead letters."""

import pytest

from teststrip.serve.queue.memory import MemoryQueue

pytestmark = pytest.mark.anyio


async def test_dead_letters_outlive_the_process(tmp_path, a_job, caplog):
    path = tmp_path / "service" / "dead.jsonl"
    queue = MemoryQueue(path)
    await queue.open()
    for reason in ("first", "second"):
        await queue.publish(job := a_job())
        await (await queue.pull(60)).dead(job, reason)
    await (await queue.take_dead()).ack()
    path.write_text(path.read_text() + '{"record": {}}\nnot JSON\n')

    again = MemoryQueue(path)
    await again.open()
    assert [letter.reason for letter in await again.dead_letters()] == ["first", "second"]
    assert (await again.take_dead()).record.reason == "second"
    assert caplog.text.count("cannot be read") == 2


async def test_without_a_path_they_are_kept_in_memory(a_job):
    queue = MemoryQueue()
    await queue.open()
    await queue.publish(job := a_job())
    await (await queue.pull(60)).dead(job, "why")
    assert (await queue.dead_letters())[0].record == job
