"""The service's numbers for Prometheus. No label ever holds a job, a user or a prompt."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
STEP_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)


class Metrics:
    """One registry per process; web and worker use the part that they know."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"teststrip_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"teststrip_{name}", text, labels, registry=registry)

        def seconds(
            name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS
        ) -> Histogram:
            return Histogram(f"teststrip_{name}", text, labels, registry=registry, buckets=buckets)

        # web
        self.requests = counter("http_requests_total", "HTTP answers", "route", "method", "status")
        self.request_seconds = seconds("http_request_seconds", "HTTP answer time", "route")
        self.accepted = counter("jobs_accepted_total", "Jobs accepted", "priority")
        self.refused = counter("jobs_refused_total", "Jobs refused", "why")
        self.queue_depth = gauge("queue_depth", "Jobs that wait", "priority")
        self.dead_depth = gauge("dead_letters", "Jobs that the queue gave up")
        self.workers = gauge("workers", "Living workers")
        self.webhook_failures = counter("webhook_failures_total", "Webhooks not delivered", "final")
        self.swept = counter("swept_total", "Jobs mended by the sweeper", "what")
        # worker
        self.jobs = counter("jobs_total", "Jobs ended", "outcome")
        self.images = counter("images_total", "Pictures made")
        self.queue_wait = seconds("queue_wait_seconds", "Accepted until taken up", "priority")
        self.end_to_end = seconds("e2e_seconds", "Accepted until ended", "priority")
        self.step_seconds = seconds("step_seconds", "One model call", "rows", buckets=STEP_SECONDS)
        self.steps = counter("steps_total", "Model calls of a whole batch")
        self.batch_rows = seconds("batch_rows", "Pictures in a model call", buckets=ROWS)
        self.occupancy = gauge("batch_occupancy", "Pictures on board / slots, 0 to 1")
        self.inflight = gauge("inflight_images", "Pictures under way")
        self.upload_seconds = seconds("upload_seconds", "Writing one picture to the store")
        self.redelivered = counter("redelivered_total", "Jobs that another worker had before")
        self.retries = counter("retries_total", "Jobs given back to be tried again")
        self.lost_claims = counter("lost_claims_total", "Results dropped: another has the claim")
        self.cancel_seconds = seconds("cancel_latency_seconds", "Cancel seen until rows are free")
        self.out_of_memory = counter("oom_total", "Out-of-memory faults")
        self.vram_bytes = gauge("vram_bytes", "GPU memory in use by this process")
        self.vram_total_bytes = gauge("vram_total_bytes", "GPU memory that is there")
        self.model_load_seconds = seconds("model_load_seconds", "Opening a model")
        self.champion = gauge("champion_version", "Version served", "name")

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
