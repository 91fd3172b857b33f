import sys
from collections.abc import Iterator

import pytest

from teststrip.errors import ConfigError
from teststrip.serve.operate import tracing

sdk = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
OUTSIDE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.fixture
def spans() -> Iterator[object]:
    exporter = sdk.InMemorySpanExporter()
    tracing.use("test", exporter, at_once=True)
    yield exporter
    tracing.close()


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_unasked_for_it_does_nothing():
    assert tracing.configure("web") is False
    with tracing.span("accept", OUTSIDE, n=1) as context:
        assert context == {}
        assert tracing.current_trace() == ""
    tracing.told("wait", OUTSIDE, 1, 2)


def test_a_job_is_one_trace_from_the_request_over_the_message_to_the_store(spans):
    with tracing.span("accept", {**OUTSIDE, "authorization": "Bearer x"}, n=2) as travels:
        assert tracing.current_trace() == "0af7651916cd43dd8448eb211c80319c"
    tracing.told("wait", travels, 100.0, 101.5, attempt=1)

    accept, wait = spans.get_finished_spans()
    assert accept.parent.span_id == int("b7ad6b7169203331", 16)
    assert wait.parent.span_id == accept.context.span_id
    assert wait.context.trace_id == accept.context.trace_id
    assert wait.end_time - wait.start_time == 1_500_000_000
    assert dict(wait.attributes) == {"attempt": 1}


def test_a_job_without_a_trace_has_no_spans(spans):
    tracing.told("make", {}, 1, 2)

    assert spans.get_finished_spans() == ()


def test_a_broken_context_from_outside_starts_a_trace_of_its_own(spans):
    with tracing.span("accept", {"traceparent": "x" * 10_000}):
        pass

    assert spans.get_finished_spans()[0].parent is None


def test_it_says_what_is_missing_and_what_is_unknown(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(ConfigError, match="accepted: otlp, console, none"):
        tracing.configure("web")

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match="pip install opentelemetry-sdk"):
        tracing.configure("web")


def test_the_console_shows_them_without_a_collector(monkeypatch, capsys):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    assert tracing.configure("web") is True

    with tracing.span("accept"):
        pass
    tracing.close()

    assert '"name": "accept"' in capsys.readouterr().err


@pytest.mark.anyio
async def test_an_accepted_job_carries_the_trace_of_its_request(spans, a_job, tmp_path):
    from teststrip.serve.config import ServiceConfig
    from teststrip.serve.jobs.ids import JobIds
    from teststrip.serve.parts import Parts
    from teststrip.serve.queue.memory import MemoryQueue
    from teststrip.serve.state.sqlite import SqliteState
    from teststrip.serve.store.folder import FolderStore
    from teststrip.serve.web import accepting

    parts = Parts(
        home=tmp_path,
        config=ServiceConfig(),
        ids=JobIds(b"x" * 16),
        state=SqliteState(tmp_path / "state.db"),
        store=FolderStore(tmp_path / "images"),
        queue=MemoryQueue(),
    )
    await parts.open()
    try:
        record = (await accepting.queue(parts, a_job(trace=OUTSIDE))).record
        delivery = await parts.queue.pull(5)
    finally:
        await parts.close()

    (accept,) = spans.get_finished_spans()
    assert accept.parent.span_id == int("b7ad6b7169203331", 16)
    assert delivery.record.trace == record.trace
    assert f"{accept.context.span_id:016x}" in record.trace["traceparent"]
