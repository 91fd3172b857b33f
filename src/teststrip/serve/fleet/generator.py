"""ServiceGenerator: a `protocols.Generator` whose pictures the workers of a service make.

Every picture is a job of the lowest priority with a name made from its image key: asked again, by
a study that was killed and resumed, it is the same job, and what is made is not made again.
"""

import os
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from pydantic import SecretStr

from teststrip import png
from teststrip.errors import ConfigError, GenerationError
from teststrip.protocols import OnProgress
from teststrip.recipe import Block, Recipe, Request
from teststrip.records import Failure, Generation, Outcome, Progress
from teststrip.serve.fleet.client import PAGE, Later, ServiceClient, Wrong

KEY = "TESTSTRIP_SERVICE_KEY"
BATCH = 100
MOST_LOST = 3
FETCHES = 4
SHORTEST_POLL_S, LONGEST_POLL_S = 0.1, 3.0
WEIGHTS = {"model", "revision", "loras", "dtype"}


@dataclass
class _Job:
    """A request on its way. `round` grows where an earlier job of it ended without a picture."""

    request: Request
    key: str
    round: int = 0
    lost: int = 0
    id: str = ""
    is_known: bool = False  # accepted in an earlier run: perhaps far down in the list
    calls_done: int = -1

    @property
    def wish(self) -> dict[str, Any]:
        return {
            "prompt": self.request.block.prompt,
            "recipe": self.request.recipe.model_dump(mode="json"),
            "seeds": [self.request.block.seed],
            "priority": "sweep",
            "idempotency_key": f"image-{self.key}-{self.round}",
        }


class ServiceGenerator:
    """`url`: where the service is. The key comes from TESTSTRIP_SERVICE_KEY; `api_key` is for
    Python alone, for a study's file and record are shown to others.

    `window`: jobs under way at once. `patience_s`: how long the service may be away, or without a
    worker, before GenerationError ends the study (which can be resumed).
    """

    def __init__(
        self,
        url: str,
        api_key: SecretStr | None = None,
        *,
        window: int = 256,
        patience_s: float = 300,
    ) -> None:
        if api_key is not None and not isinstance(api_key, SecretStr):
            raise ConfigError(
                f"api_key: a key does not belong into a study's file; set {KEY} instead"
            )
        if window < 1:
            raise ConfigError(f"window: at least 1, got {window}")
        key = api_key or (SecretStr(found) if (found := os.environ.get(KEY)) else None)
        self._client = ServiceClient(url, key, patience_s=patience_s)
        self._window, self._patience_s = window, patience_s
        self._batch = BATCH
        self._fingerprints: dict[str, str] = {}

    def fingerprint(self, recipe: Recipe) -> str:
        """As a worker told it; of adapters and other precisions as a picture at one step tells it.

        Raises ConfigError for a model that is not served, GenerationError without a worker.
        """
        weights = recipe.model_dump_json(include=WEIGHTS)
        if weights not in self._fingerprints:
            self._fingerprints[weights] = self._plain(recipe) or self._by_picture(recipe)
        return self._fingerprints[weights]

    def generate(
        self, requests: Iterable[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Outcome]:
        """Outcomes as they come. Closed early, what is under way is cancelled.

        Raises GenerationError where the service stays away or other weights made a picture.
        """
        times = Counter(requests)  # one job for equal requests
        waiting = deque(_Job(one, one.image_key(self.fingerprint(one.recipe))) for one in times)
        flying: dict[str, _Job] = {}
        with ThreadPoolExecutor(FETCHES, thread_name_prefix="fleet") as threads:
            try:
                for outcome in self._run(waiting, flying, threads, on_progress):
                    yield from repeat(outcome, times[outcome.request])
            finally:
                list(threads.map(self._client.cancel, list(flying)))

    def close(self) -> None:
        """Let go of the connections; twice is harmless."""
        self._client.close()

    # -- rounds -----------------------------------------------------------------------------------

    def _run(
        self,
        waiting: deque[_Job],
        flying: dict[str, _Job],
        threads: ThreadPoolExecutor,
        on_progress: OnProgress | None,
    ) -> Iterator[Outcome]:
        pause, not_before, moved = SHORTEST_POLL_S, 0.0, time.monotonic()
        while waiting or flying:
            if waiting and len(flying) < self._window and time.monotonic() >= not_before:
                try:
                    yield from self._submit(waiting, flying)
                    moved = time.monotonic()
                except Later as exc:
                    if self._batch > 1:  # a limit may be below a batch
                        self._batch = min(self._batch, len(waiting)) // 2 or 1
                        continue
                    not_before = time.monotonic() + exc.pause_s
                    if not flying and time.monotonic() - moved > self._patience_s:
                        raise GenerationError(f"{self._client.url} takes no jobs: {exc}") from exc
            ended = self._look(flying, on_progress)
            fetched = list(threads.map(self._outcome, [flying[one["id"]] for one in ended], ended))
            for view, outcome in zip(ended, fetched, strict=True):
                job = flying.pop(view["id"])
                if outcome is None:
                    yield from self._again(job, waiting)
                else:
                    yield outcome
            if ended:
                pause, not_before, moved = SHORTEST_POLL_S, 0.0, time.monotonic()
            elif flying or time.monotonic() < not_before:
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_POLL_S)

    def _submit(self, waiting: deque[_Job], flying: dict[str, _Job]) -> Iterator[Outcome]:
        """Send the next batch. Yields failures of requests that the service will not make.

        Raises Later; what was not accepted is then waiting still.
        """
        count = min(len(waiting), self._batch, self._window - len(flying))
        jobs = [waiting[k] for k in range(count)]
        try:
            entries = self._client.submit([job.wish for job in jobs])
        except Wrong as exc:
            wrong = _by_wish(exc.faults)
            if not wrong and count > 1:
                raise Later(1.0, str(exc)) from exc  # it may be the batch that is too large
            if not wrong:
                raise
            for _ in range(count):
                waiting.popleft()
            waiting.extendleft(job for k, job in enumerate(jobs) if k not in wrong)
            yield from (
                Failure(jobs[k].request, jobs[k].key, f"refused: {'; '.join(faults)}")
                for k, faults in wrong.items()
                if k < count
            )
            return
        refused = []
        for job, entry in zip(jobs, entries, strict=True):
            waiting.popleft()
            if "id" not in entry:
                refused.append(job)
            elif not entry["is_new"] and entry["state"] in ("failed", "cancelled", "expired"):
                job.round += 1  # of an earlier time: this is a new try
                waiting.append(job)
            else:
                job.id, job.is_known = entry["id"], not entry["is_new"]
                flying[job.id] = job
        waiting.extendleft(reversed(refused))
        if refused:
            raise Later(1.0, "the queue refused some jobs")
        self._batch = min(BATCH, 2 * self._batch)

    def _look(
        self, flying: dict[str, _Job], on_progress: OnProgress | None
    ) -> list[dict[str, Any]]:
        """Those that ended; progress is told of the others."""
        left = {name for name, job in flying.items() if not job.is_known}
        seen: list[dict[str, Any]] = []
        for page in self._client.recent(len(left) // PAGE + 2) if left else ():
            seen += [view for view in page if view["id"] in left]
            left -= {view["id"] for view in page}
            if not left:
                break
        for name in left | {name for name, job in flying.items() if job.is_known}:
            seen.append(self._client.job(name) or {"id": name, "state": "lost"})
        for view in seen:
            _tell(flying[view["id"]], view, on_progress)
        return [view for view in seen if view["state"] not in ("queued", "running")]

    def _again(self, job: _Job, waiting: deque[_Job]) -> Iterator[Outcome]:
        """Its job or picture is gone: once more under a new name, a few times at most."""
        job.lost, job.round, job.calls_done = job.lost + 1, job.round + 1, -1
        if job.lost < MOST_LOST:
            waiting.append(job)
        else:
            yield Failure(job.request, job.key, f"the service lost it {job.lost} times")

    # -- pictures ---------------------------------------------------------------------------------

    def _outcome(self, job: _Job, view: dict[str, Any]) -> Outcome | None:
        """The picture or the failure of an ended job; None where it was lost."""
        request, state = job.request, view["state"]
        if state == "cancelled" and job.is_known:
            return None  # by the end of an earlier run, which its worker has only now seen
        if state in ("failed", "cancelled"):
            reason = view.get("reason") or f"the job was {state} at the service"
            return Failure(request, job.key, reason)
        if state != "done" or not view["images"]:
            return None
        image = view["images"][0]
        data = self._client.picture(image)
        if data is None:
            return None
        inside = png.read(data)
        expected = self.fingerprint(request.recipe)
        made_by = inside.facts.get("fingerprint")
        if made_by != expected or _shown(inside.request) != _shown(request):
            raise GenerationError(
                f"{self._client.url}: a picture is not what was asked for: weights {made_by}, "
                f"asked for {expected}; its workers must all have the same model and precision"
            )
        facts = image["facts"]
        return Generation(
            request=request,
            image_key=job.key,
            png=data,
            seconds=float(facts.get("seconds", 0.0)),
            model_calls=int(facts.get("model_calls", request.recipe.model_calls)),
            facts=dict(inside.facts),
        )

    def _plain(self, recipe: Recipe) -> str | None:
        """What the workers tell of the model, where the recipe takes it as it is."""
        if recipe.loras or recipe.revision is not None:
            return None
        end, pause = time.monotonic() + self._patience_s, 0.2
        while True:
            told, dtype = self._client.fingerprint(recipe.model)
            if told is not None:
                return told if recipe.dtype in (None, dtype) else None
            if time.monotonic() + pause >= end:
                raise GenerationError(
                    f"{self._client.url}: no worker has told of model {recipe.model!r} in "
                    f"{self._patience_s:.0f} s; start one: teststrip service worker"
                )
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _by_picture(self, recipe: Recipe) -> str:
        """Make one at a single step and read what it says of its weights."""
        weights = recipe.model_dump(include=WEIGHTS)
        small = Recipe.model_validate(weights | {"steps": 1, "scheduler": "euler"})
        request = Request(recipe=small, block=Block(prompt="fingerprint", seed=0))
        wish = _Job(request, "").wish | {"idempotency_key": None}
        [entry] = self._client.submit([wish])
        view = self._until_ended(entry)
        if view["state"] != "done":
            raise GenerationError(f"{self._client.url}: {view.get('reason') or view['state']}")
        data = self._client.picture(view["images"][0])
        if data is None:
            raise GenerationError(f"{self._client.url}: a picture is gone as soon as it was made")
        return str(png.read(data).facts["fingerprint"])

    def _until_ended(self, entry: dict[str, Any]) -> dict[str, Any]:
        end, pause = time.monotonic() + self._patience_s, SHORTEST_POLL_S
        while time.monotonic() < end and "id" in entry:
            view = self._client.job(entry["id"])
            if view is None or view["state"] not in ("queued", "running"):
                return view or {"state": "lost"}
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_S)
        if "id" in entry:
            self._client.cancel(entry["id"])
        raise GenerationError(
            f"{self._client.url}: no picture in {self._patience_s:.0f} s; are workers running?"
        )


def _tell(job: _Job, view: dict[str, Any], on_progress: OnProgress | None) -> None:
    told = view.get("progress") or {"calls_done": 0, "calls_total": 1}
    if told["calls_done"] > job.calls_done:
        job.calls_done = told["calls_done"]
        if on_progress is not None:
            on_progress(Progress(job.request, told["calls_done"], told["calls_total"]))


def _shown(request: Request) -> Request:
    """Workers have the same adapter in other folders; the fingerprint has its content."""
    loras = tuple(lora.model_copy(update={"path": "-"}) for lora in request.recipe.loras)
    recipe = request.recipe.model_copy(update={"loras": loras})
    return Request(recipe=recipe, block=request.block)


def _by_wish(faults: Iterable[str]) -> dict[int, list[str]]:
    """Faults by the number of the wish that has them."""
    found: dict[int, list[str]] = {}
    for fault in faults:
        if match := re.match(r"jobs\.(\d+)\.(.*)", fault, re.DOTALL):
            found.setdefault(int(match[1]), []).append(match[2])
    return found
