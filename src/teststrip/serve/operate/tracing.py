"""OpenTelemetry, where it is wanted: a job's way through web, queue, worker and store as one trace.

It is on when OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_TRACES_EXPORTER=console) is set; otherwise each
call here costs nothing and nothing is imported. The W3C trace context travels in `record.trace`,
so that a worker's spans hang below the request that made the job.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from teststrip.errors import ConfigError

CONTEXT = ("traceparent", "tracestate")
MOST_CHARS = 512  # of a header that comes from outside
_tracer: Any = None
_provider: Any = None


def configure(role: str) -> bool:
    """Switch it on if the environment asks for it; True when it is on.

    Raises ConfigError where it is asked for and its packages are missing, or for an exporter that
    is not known.
    """
    wanted = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    has_address = any(
        os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_")
    )
    if wanted == "none" or not (wanted or has_address):
        return False
    if wanted not in ("", "otlp", "console"):
        raise ConfigError(f"OTEL_TRACES_EXPORTER={wanted}: accepted: otlp, console, none")
    try:
        use(role, _exporter(wanted or "otlp"))
    except ImportError as exc:
        raise ConfigError(
            "tracing is asked for (OTEL_...) and its packages are missing: pip install "
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        ) from exc
    return True


def use(role: str, exporter: Any, *, at_once: bool = False) -> None:
    """Send spans to this exporter; `at_once` waits for each (tests)."""
    global _tracer, _provider  # noqa: PLW0603 - one tracer a process, as OpenTelemetry has it
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    close()
    name = os.environ.get("OTEL_SERVICE_NAME", f"teststrip-{role}")
    _provider = TracerProvider(resource=Resource.create({"service.name": name}))
    _provider.add_span_processor((SimpleSpanProcessor if at_once else BatchSpanProcessor)(exporter))
    _tracer = _provider.get_tracer("teststrip")


def close() -> None:
    """Send what is left and switch it off; harmless twice."""
    global _tracer, _provider  # noqa: PLW0603
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


@contextmanager
def span(
    name: str, context: Mapping[str, str] | None = None, **facts: str | int | float
) -> Iterator[dict[str, str]]:
    """A span around a block, below `context`; gives its own context for `record.trace`.

    `context`: headers of a request or `record.trace`; what is not a trace context is ignored.
    """
    if _tracer is None:
        yield {}
        return
    with _tracer.start_as_current_span(name, context=_read(context), attributes=facts):
        yield _written()


def told(
    name: str,
    context: Mapping[str, str] | None,
    began: float,
    ended: float,
    **facts: str | int | float,
) -> None:
    """A span that is over, by its times (seconds since 1970); of a job without a trace: nothing."""
    if _tracer is None or not context:
        return
    made = _tracer.start_span(
        name, context=_read(context), start_time=int(began * 1e9), attributes=facts
    )
    made.end(end_time=int(max(began, ended) * 1e9))


def current_trace() -> str:
    """The id of the trace that this code runs in, 32 hex digits, or "" when there is none."""
    if _tracer is None:
        return ""
    from opentelemetry import trace

    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else ""


def _exporter(kind: str) -> Any:
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(
            out=sys.stderr, formatter=lambda s: s.to_json(indent=None) + "\n"
        )
    # not one of our extras: whoever runs a collector installs what speaks to it
    module = __import__("opentelemetry.exporter.otlp.proto.http.trace_exporter", fromlist=["_"])
    return module.OTLPSpanExporter()


def _read(context: Mapping[str, str] | None) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    known = {k: v[:MOST_CHARS] for k in CONTEXT if (v := (context or {}).get(k))}
    return TraceContextTextMapPropagator().extract(known) if known else None


def _written() -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier
