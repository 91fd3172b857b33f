"""The back end for many GPUs: Ray Tune places trials on a cluster, ASHA gives up the worst.

Who is next comes from the same book as in one process, and how a trial ended from its own file:
so nothing hangs on Ray's snapshots, and a search goes on after any of its processes died. A trial
whose process died is handed out again and goes on from its last checkpoint. All machines of the
cluster must see TESTSTRIP_HOME at the same path.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from teststrip.errors import StorageError, StudyError, TeststripError
from teststrip.files import write_atomic
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.folder import TuneFolder
from teststrip.train.tune.job import (
    FAILED,
    Job,
    Measured,
    Objective,
    Outcome,
    TrialFailed,
    take,
)
from teststrip.train.tune.scene import Scene, Turns, behind

# Read when Ray is started; a user's own value always stays.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # a training is no work for idle times
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: trials stop at the next step
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

log = logging.getLogger(__name__)


@contextmanager
def opened(config: TuneConfig) -> Iterator[Callable[[Scene, Turns], None]]:
    """`run` for as long as it is open; the cluster is joined when there is something to run."""
    try:
        yield run
    finally:
        if ray.is_initialized():
            ray.shutdown()


def run(scene: Scene, turns: Turns) -> None:
    """Run all turns on the cluster; returns early where somebody asks to stop.

    Raises StudyError where no cluster can be reached or started, StorageError where the disk
    refuses.
    """
    config = scene.config
    source = _Source(scene, turns)
    if not source.has_more():
        return
    if not ray.is_initialized():
        _join(config)
    resources = {"cpu": config.ray.cpus_per_trial, "gpu": config.ray.gpus_per_trial}
    _enough(resources)
    trainable = _trainable(config, scene.folder, scene.objective, early=scene.early)
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            metric="value",
            mode="max" if scene.higher_is_better else "min",
            search_alg=source,
            scheduler=_scheduler(scene),
            num_samples=-1,
        ),
        run_config=tune.RunConfig(
            name=f"search-{time.time_ns()}",
            storage_path=str(scene.folder.ray.resolve()),
            callbacks=[_Stopping(scene)],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),  # retried by `_Source`
        ),
    )
    tuner.fit()
    if source.fault is not None:
        raise source.fault


def _join(config: TuneConfig) -> None:
    """Join the cluster at its address, or start one here."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    where = config.ray.address
    mine = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"address": where or "local"}
    if not where:
        options |= {"num_cpus": config.ray.cpus, "include_dashboard": False}
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    except Exception as exc:
        text = str(exc).partition("\n")[0]
        raise StudyError(f"Ray cluster {where or '(local)'}: cannot be reached: {text}") from exc
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, mine)  # Ray puts its own, which ends the process at once
    # a traceback for each trial that failed; we say it in one line
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def _enough(resources: dict[str, float]) -> None:
    have = ray.cluster_resources()
    short = [
        f"{value:g} {name} per trial, the cluster has {have.get(name.upper(), 0):g}"
        for name, value in resources.items()
        if value > have.get(name.upper(), 0)
    ]
    if short:
        raise StudyError(f"no trial can ever start: {'; '.join(short)}")


def _trainable(
    config: TuneConfig, folder: TuneFolder, objective: Objective, *, early: bool
) -> Callable[[dict[str, Any]], None]:
    """What runs in a worker's process: one trial, then its outcome in its file."""

    def trial(given: dict[str, Any]) -> None:
        job = Job(**given["job"])

        def goes_on(measured: Measured) -> bool:
            # returns once the driver has judged this measuring, see `_Asha`
            tune.report(_reported(measured))
            return not (early and folder.is_pruned(job.name))

        try:
            outcome = take(
                job,
                config,
                folder,
                objective,
                goes_on=goes_on,
                is_asked_to_stop=folder.stop.exists,
            )
        except TeststripError as exc:
            folder.note_fault(job.name, str(exc))
            raise
        if outcome is not None and outcome.state == FAILED:
            raise TrialFailed(outcome.why)  # so that Ray's own record says it, too

    return trial


def _reported(measured: Measured) -> dict[str, Any]:
    """Ray flattens what is nested, so the units travel as text."""
    units = json.dumps(dict(measured.units))
    return {
        "value": measured.value,
        "index": measured.index,
        "optimizer_step": measured.step,
        "units": units,
    }


def _scheduler(scene: Scene) -> Any:
    stop = scene.config.early_stop
    if not scene.early or stop.kind != "halving":
        return FIFOScheduler()
    return _Asha(
        scene.folder,
        scene.config.measures,
        time_attr="index",
        max_t=scene.config.measures,
        grace_period=stop.grace,
        reduction_factor=stop.eta,
        stop_last_trials=False,
    )


class _Asha(ASHAScheduler):
    """ASHA, whose verdict a trial carries out itself.

    Ray would end the process in the middle of a step; asked to, the training stops in good order,
    keeps its state and closes its record.
    """

    def __init__(self, folder: TuneFolder, measures: int, **options: Any) -> None:
        super().__init__(**options)
        self._folder = folder
        self._measures = measures

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        verdict = super().on_trial_result(tune_controller, trial, result)
        if verdict == TrialScheduler.STOP and result["index"] < self._measures:
            job = trial.config["job"]["name"]
            self._folder.prune(job, f"behind the others at measuring {result['index']}")
        return str(TrialScheduler.CONTINUE)


class _Stopping(tune.Callback):
    """Carries a wish to stop (Ctrl-C, SIGTERM at the driver) to the trials, by the stop file."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        if self._scene.is_asked_to_stop() and not self._scene.folder.stop.exists():
            write_atomic(self._scene.folder.stop, b"the search was asked to stop")


class _Source(Searcher):
    """The turns as Ray Tune asks for them. Runs in the driver, in its thread."""

    def __init__(self, scene: Scene, turns: Turns) -> None:
        super().__init__(metric="value", mode="max" if scene.higher_is_better else "min")
        self.fault: TeststripError | None = None
        self._scene = scene
        self._turns = turns
        self._running: dict[str, Job] = {}
        self._again: list[Job] = []
        self._died: dict[str, int] = {}

    def has_more(self) -> bool:
        """Is there anything to run? What ended before a crash could tell it is told now."""
        job = self._next()
        if job is not None:
            self._again.append(job)
        return job is not None

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        """Metric and mode are known; no space of Ray's is used."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None while one may still come back; FINISHED."""
        limit = self._scene.config.ray.at_once
        if limit and len(self._running) >= limit:
            return None
        job = self._next()
        if job is None:
            return None if self._running else self.FINISHED
        self._running[trial_id] = job
        return {
            "job": {"name": job.name, "number": job.number, "seed": job.seed, "point": job.point}
        }

    def _next(self) -> Job | None:
        while not self._scene.is_asked_to_stop() and self.fault is None:
            job = self._again.pop(0) if self._again else self._turns.next()
            if job is None or (outcome := self._scene.folder.outcome(job.name)) is None:
                return job
            self._ended(outcome)  # it ended, but a crash kept that from being told
        return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep a measuring, and judge it where the rule is ours and not ASHA's."""
        job = self._running[trial_id]
        if "index" not in result:  # Ray's own last word of a trial that never reported
            return
        measured = Measured(
            result["optimizer_step"],
            result["index"],
            result["value"],
            json.loads(result["units"]),
        )
        with self._noting():
            self._turns.note(job, measured)
            if behind(self._scene, measured):
                self._scene.folder.prune(job.name, "clearly worse than the best trial")

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial's process ended: with an outcome, asked to stop, or because it died."""
        job = self._running.pop(trial_id)
        with self._noting():
            if (outcome := self._scene.folder.outcome(job.name)) is not None:
                self._ended(outcome)
            elif fault := self._scene.folder.fault(job.name):
                raise StudyError(f"trial {job.name}: {fault}")
            elif error and not self._scene.is_asked_to_stop():
                self._lost(job)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the book is on disk already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the book is on disk already."""

    def _ended(self, outcome: Outcome) -> None:
        self._turns.tell(outcome)
        self._scene.on_outcome(outcome)

    def _lost(self, job: Job) -> None:
        died = self._died[job.name] = self._died.get(job.name, 0) + 1
        if died <= self._scene.config.ray.retries:
            log.warning("trial %s: its process died; it is taken up again", job.name)
            self._again.append(job)
            return
        why = f"its process died {died} times (out of memory?)"
        outcome = Outcome(job.name, job.number, FAILED, None, why, job.seed, point=dict(job.point))
        self._scene.folder.keep(outcome)
        self._ended(outcome)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except TeststripError as exc:  # Ray would swallow it; `run` raises it
            self.fault = exc
            with suppress(StorageError):
                write_atomic(self._scene.folder.stop, b"a fault of the search")
