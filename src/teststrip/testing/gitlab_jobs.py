"""Runs the jobs of a .gitlab-ci.yml on this machine, as a GitLab runner would, without GitLab.

Every job gets a fresh clone at one commit, the variables, the artifacts of the jobs it needs and
its cache; before_script and script run in one bash that ends at the first fault. A job whose runner
is lost (`lost`) is killed with everything it started and, where `retry` says so, tried again in
another fresh clone. What stands in its image is here what stands on the PATH.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.testing.gitlab_pipeline import Job, Pipeline, expanded
from teststrip.testing.own_process import PATIENCE_S

Lost = Callable[[Job, int, Path], bool]
"""Whether the runner of a job dies now; asked with the attempt (from 1) and the job's folder."""


@dataclass(frozen=True)
class Ran:
    """One attempt. `code`: exit code of its script; `reason`: as GitLab names a failure, or ""."""

    job: str
    attempt: int
    code: int
    reason: str
    log: str
    folder: Path


@dataclass
class GitLabJobs:
    """A GitLab project with one runner. `repository`: what is cloned; `folder`: its workplace.

    `env`: environment of the runner (PATH, git's identity ...). `variables`: the project's, secrets
    among them, and of GitLab itself those that name its servers (CI_API_V4_URL ...). `images`: by
    job, variables in which its image differs from this machine.
    """

    repository: Path
    folder: Path
    env: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def run(self, commit: str, lost: Lost | None = None, **facts: str) -> list[Ran]:
        """Every attempt of every job of the pipeline of `commit`, until one fails for good.

        `facts`: what GitLab knows of this pipeline: CI_PIPELINE_SOURCE, CI_COMMIT_BRANCH, ...
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self._given(commit) | dict(facts)
        read = self._clone(commit, self.folder / "read")
        pipeline = Pipeline.read(read / ".gitlab-ci.yml")
        place = self.folder / f"pipeline-{len(list(self.folder.glob('pipeline-*'))) + 1}"
        ran: list[Ran] = []
        for number, job in enumerate(pipeline.wanted(known | dict(self.variables)), start=1):
            for attempt in range(1, job.retries + 2):
                values = known | {"CI_JOB_ID": str(100 * number + attempt), "CI_JOB_NAME": job.name}
                values |= {"CI_JOB_STAGE": job.stage}
                values |= dict(pipeline.variables) | dict(job.variables) | dict(self.variables)
                ran.append(self._attempt(job, attempt, commit, values, place, pipeline, lost))
                if not _is_tried_again(job, ran[-1]):
                    break
            if ran[-1].reason:
                break
        return ran

    def _attempt(  # noqa: PLR0917 - all that a runner is told
        self,
        job: Job,
        attempt: int,
        commit: str,
        values: Mapping[str, str],
        place: Path,
        pipeline: Pipeline,
        lost: Lost | None,
    ) -> Ran:
        here = self._clone(commit, place / f"{job.name}-{attempt}", values.get("GIT_DEPTH", "20"))
        values = dict(values) | {"CI_PROJECT_DIR": str(here)}
        values = {name: expanded(text, values) for name, text in values.items()}
        for name in _needed(job, pipeline):
            _copy(place / "artifacts" / name, here)
        cache = self.folder / "cache" / _cache_key(job, here)
        _copy(cache, here)
        env = {**self.env, **self.images.get(job.name, {}), **values}
        code, reason, log = _shell(
            job.before + job.script, here, env, lambda: bool(lost and lost(job, attempt, here))
        )
        if reason != "runner_system_failure":  # a runner that is gone saves nothing
            if job.after:
                log += _shell(job.after, here, env, lambda: False)[2]
            when = job.artifacts.get("when", "on_success")
            if when == "always" or (when == "on_success") == (not reason):
                _collect(job.artifacts.get("paths", ()), here, place / "artifacts" / job.name)
            if not reason and "push" in job.cache.get("policy", "pull-push"):
                _collect(job.cache.get("paths", ()), here, cache)
        return Ran(job.name, attempt, code, reason, log, here)

    def _given(self, commit: str) -> dict[str, str]:
        return {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": commit,
            "CI_COMMIT_SHORT_SHA": commit[:8],
            "CI_DEFAULT_BRANCH": "main",
            "CI_PROJECT_ID": "5",
            "CI_PIPELINE_ID": "1",
        }

    def _clone(self, commit: str, folder: Path, depth: str = "0") -> Path:
        """Only what the commit needs, head detached, as a runner does."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fetch = ["fetch", "--quiet", *(() if depth == "0" else ("--depth", depth))]
        for command in (
            ["init", "--quiet", "--initial-branch=none"],
            ["remote", "add", "origin", self.repository.resolve().as_uri()],
            [*fetch, "origin", commit],
            ["checkout", "--quiet", "--detach", commit],
        ):
            subprocess.run(["git", *command], cwd=folder, env=dict(self.env), check=True)  # noqa: S603, S607 - git, of tests
        return folder


def _is_tried_again(job: Job, ran: Ran) -> bool:
    """By `retry`. A script that ends with a fault of its own is not the runner's failure."""
    return bool(ran.reason) and (
        bool({ran.reason, "always"} & job.retry_when) or ran.code in job.retry_codes
    )


def _shell(
    lines: tuple[str, ...], folder: Path, env: Mapping[str, str], is_lost: Callable[[], bool]
) -> tuple[int, str, str]:
    """Exit code, reason of a failure, what it said."""
    script = "\n".join(("set -eo pipefail", "set +o noclobber", *lines, ""))
    log = folder.with_name(folder.name + ".log")
    until = time.monotonic() + 10 * PATIENCE_S
    with log.open("ab") as said:
        process = subprocess.Popen(  # noqa: S603 - the job's own script
            ["bash", "-c", script],  # noqa: S607
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reason = ""
        while process.poll() is None:
            reason = "runner_system_failure" if is_lost() else reason
            if reason or time.monotonic() > until:
                reason = reason or "job_execution_timeout"
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):  # a container ends with its script
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode and not reason:
        reason = "script_failure"
    return process.returncode, reason, log.read_text(errors="replace")


def _needed(job: Job, pipeline: Pipeline) -> tuple[str, ...]:
    if job.needs is not None:
        return job.needs
    before = pipeline.stages[: pipeline.stages.index(job.stage)]
    return tuple(other.name for other in pipeline.jobs if other.stage in before)


def _cache_key(job: Job, folder: Path) -> str:
    key: Any = job.cache.get("key", "default")
    if isinstance(key, str):
        return key
    return hashlib.sha256(b"".join((folder / n).read_bytes() for n in key["files"])).hexdigest()


def _collect(patterns: Any, folder: Path, place: Path) -> None:
    """Files and folders that match, where they are; a new set takes the place of the old one."""
    shutil.rmtree(place, ignore_errors=True)
    for pattern in patterns:
        for path in folder.glob(pattern.rstrip("/")):
            goal = place / path.relative_to(folder)
            goal.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, goal, dirs_exist_ok=True)
            else:
                shutil.copy2(path, goal)


def _copy(source: Path, folder: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)
