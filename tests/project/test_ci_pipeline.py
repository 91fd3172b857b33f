"""The jobs of a new project's .gitlab-ci.yml, executed: real DVC, S3 server, training and notes.

lint -> reproduce, whose runner dies in the middle of the training, on the default branch; then a
merge request that changes one parameter: lint -> reproduce -> report.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from teststrip.testing.commands import Commands
from teststrip.testing.forges import GitLab
from teststrip.testing.gitlab_jobs import GitLabJobs, Ran
from teststrip.testing.s3_server import S3Server
from teststrip.testing.small_project import small_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass
class World:
    """A project on a GitLab with one runner, whose folder `keep` outlives its jobs."""

    project: Commands
    gitlab: GitLab
    jobs: GitLabJobs
    keep: Path

    def checkpoints(self) -> list[Path]:
        return sorted(self.keep.glob("5/runs/*/checkpoints/[0-9]*/checkpoint.json"))

    def take(self, ran: Ran) -> None:
        """What the job's log says: its artifacts unpacked in a clone, pulled, committed."""
        kept = ran.folder.parent / "artifacts" / ran.job
        shutil.copytree(kept, self.project.folder, dirs_exist_ok=True)
        self.project.dvc("pull")
        self.project.commit("Results of the pipeline")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    without_torch = tmp_path / "without-torch"
    without_torch.mkdir()
    (without_torch / "torch.py").write_text("raise ImportError('this image has no torch')\n")
    light = {"PYTHONPATH": str(without_torch)}
    with S3Server(tmp_path / "s3") as s3:
        folder = small_project(tmp_path / "project", endpoint=s3.address, changes=["train.steps=8"])
        project = Commands(folder, settings=s3.env)
        project.begin()
        project.dvc("push")
        keep = tmp_path / "keep"
        keep.mkdir()
        gitlab = GitLab()
        secrets = {**s3.env, "TESTSTRIP_KEEP": str(keep)}
        bare = {name: text for name, text in project.env.items() if name not in s3.env}
        images = {"lint": light, "report": light}
        yield World(
            project, gitlab, GitLabJobs(folder, tmp_path / "ci", bare, secrets, images), keep
        )
        gitlab.close()


def done(ran: list[Ran]) -> list[tuple[str, str]]:
    return [(one.job, one.reason) for one in ran]


def facts(gitlab: GitLab, number: int | None, pipeline: int) -> dict[str, str]:
    """What GitLab tells the jobs of a pipeline; the checkout's folder is the runner's affair."""
    given = gitlab.variables(Path("/"), number, pipeline=pipeline)
    return {k: v for k, v in given.items() if k not in ("CI_PROJECT_DIR", "CI_COMMIT_SHA")}


def test_from_a_runner_that_dies_to_a_note_on_a_merge_request(world: World) -> None:
    project, gitlab, jobs = world.project, world.gitlab, world.jobs
    main = project.git("rev-parse", "HEAD").strip()
    written: list[tuple[int, int]] = []

    def lost(job, attempt: int, folder: Path) -> bool:
        if job.name != "reproduce" or attempt > 1 or not world.checkpoints():
            return False
        found = world.checkpoints()[0].stat()
        written.append((found.st_mtime_ns, found.st_ino))
        return True

    ran = jobs.run(main, lost=lost, **facts(gitlab, None, 100), CI_COMMIT_BRANCH="main")

    assert done(ran) == [
        ("lint", ""),
        ("reproduce", "runner_system_failure"),
        ("reproduce", ""),
    ], ran[-1].log
    assert "teststrip project run train" in ran[1].log
    first = world.checkpoints()[0].stat()
    assert (first.st_mtime_ns, first.st_ino) == written[0], "trained a second time"
    assert gitlab.notes[1] == []
    world.take(ran[2])
    base = project.git("rev-parse", "HEAD").strip()
    assert "up to date" in project.dvc("status")

    project.git("checkout", "--quiet", "-b", "idea")
    text = (project.folder / "params.yaml").read_text()
    assert "number_images: 2" in text
    (project.folder / "params.yaml").write_text(
        text.replace("number_images: 2", "number_images: 3")
    )
    idea = project.commit("One picture more")
    assert jobs.run(idea, CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="idea") == []
    of_it = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": base}

    ran = jobs.run(idea, **facts(gitlab, 1, 101), **of_it)

    assert done(ran) == [("lint", ""), ("reproduce", ""), ("report", "")], ran[-1].log
    for stage in ("prepare", "train", "select"):
        assert f"Stage '{stage}' didn't change" in ran[1].log
    assert "teststrip project run infer" in ran[1].log
    assert "New results" in ran[1].log
    (note,) = gitlab.notes[1]
    assert r"infer.number\_images" in note.body
    assert len(gitlab.uploads) >= 1
    assert (ran[2].folder / "comparison/index.html").is_file()

    secret = jobs.variables["AWS_SECRET_ACCESS_KEY"]
    for one in ran:
        assert secret not in one.log
        assert "glpat-reports" not in one.log
