"""The server's numbers for Prometheus. No label ever holds a run, a user or a path of a request."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
ROUTES = (  # the first that matches
    ("artifacts", r".*/(mlflow-artifacts|get-artifact|upload-artifact|artifacts)(/|$)"),
    ("metrics", r".*/mlflow/(metrics/|runs/log-(metric|batch)$)"),
    ("runs", r".*/mlflow/runs/"),
    ("registry", r".*/mlflow/(registered-models|model-versions|logged-models)"),
    ("experiments", r".*/mlflow/experiments/"),
    ("ui", r"/$|/static-files/|/favicon|/graphql$|/signup$"),
)
_ROUTES = tuple((name, re.compile(pattern)) for name, pattern in ROUTES)


def route(path: str) -> str:
    """One of few words for a request's path: what it is about."""
    return next((name for name, pattern in _ROUTES if pattern.match(path)), "other")


class Numbers:
    """One registry per process."""

    def __init__(self, databases_up: Callable[[], bool], folders: Iterable[Path]) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "teststrip_track_requests_total",
            "HTTP answers",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "teststrip_track_request_seconds",
            "HTTP answer time, to the last byte",
            ("route",),
            registry=registry,
            buckets=SECONDS,
        )
        self.in_flight = Gauge(
            "teststrip_track_requests_in_flight", "HTTP requests under way", registry=registry
        )
        self.artifact_bytes = Counter(
            "teststrip_track_artifact_bytes_total",
            "Bytes of artifacts that clients sent (in) and got (out)",
            ("direction",),
            registry=registry,
        )
        self.login_failures = Counter(
            "teststrip_track_login_failures_total", "Wrong log-ins", registry=registry
        )
        for direction in ("in", "out"):
            self.artifact_bytes.labels(direction)  # there from the start, so that rates are right
        registry.register(_Now(databases_up, tuple(folders)))
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """All of it in Prometheus' text format; the databases are asked now."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What is looked up when somebody asks."""

    def __init__(self, databases_up: Callable[[], bool], folders: tuple[Path, ...]) -> None:
        self._databases_up, self._folders = databases_up, folders

    def collect(self) -> Iterator[Metric]:
        up = float(self._databases_up())
        yield GaugeMetricFamily("teststrip_track_database_up", "1: all databases answer", value=up)
        free = GaugeMetricFamily(
            "teststrip_track_disk_free_bytes", "Room that is left", labels=("path",)
        )
        for folder in self._folders:
            free.add_metric((str(folder),), shutil.disk_usage(folder).free)
        yield free


class Counted:
    """Around everything: each request is counted when its answer has gone out."""

    def __init__(self, app: "ASGIApp", numbers: Numbers) -> None:
        self._app, self._numbers = app, numbers

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass on, and count."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        numbers, named = self._numbers, route(scope["path"])
        is_artifact = named == "artifacts"
        status, began = 500, time.perf_counter()

        async def got() -> "Message":
            message = await receive()
            if is_artifact and message["type"] == "http.request":
                numbers.artifact_bytes.labels("in").inc(len(message.get("body", b"")))
            return message

        async def sent(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif is_artifact and status < 300 and message["type"] == "http.response.body":
                numbers.artifact_bytes.labels("out").inc(len(message.get("body", b"")))
            await send(message)

        numbers.in_flight.inc()
        try:
            await self._app(scope, got, sent)
        finally:
            numbers.in_flight.dec()
            method = scope["method"] if scope["method"] in METHODS else "other"
            numbers.requests.labels(method, named, str(status)).inc()
            numbers.seconds.labels(named).observe(time.perf_counter() - began)
