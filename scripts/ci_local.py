"""The jobs of a project's .gitlab-ci.yml on this machine, as GitLab would run its last commit.

    .venv/bin/python scripts/ci_local.py DIR              # as on the default branch
    .venv/bin/python scripts/ci_local.py DIR --base main  # as in a merge request, with its note

Keys of the DVC remote are taken from AWS_* of the environment. Jobs run in fresh clones below
--work (kept: caches and trainings under way are in --keep), with the git, dvc and teststrip of
this interpreter. The note goes to a GitLab that this script starts and ends.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from teststrip.testing.forges import GitLab
from teststrip.testing.gitlab_jobs import GitLabJobs


def main() -> int:
    """Exit code: 0 where every job ended well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--base", help="revision that a merge request goes to")
    parser.add_argument("--work", type=Path, default=Path("ci-local"))
    parser.add_argument("--keep", type=Path, help="else WORK/keep")
    given = parser.parse_args()
    keep = (given.keep or given.work / "keep").resolve()
    keep.mkdir(parents=True, exist_ok=True)

    def commit(name: str) -> str:
        command = ["git", "-C", given.project, "rev-parse", "--verify", f"{name}^{{commit}}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - git
        return done.stdout.strip()

    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    env = os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    gitlab = GitLab()
    try:
        facts = gitlab.variables(Path(), 1 if given.base else None)
        for name in ("CI_PROJECT_DIR", "CI_COMMIT_SHA"):
            del facts[name]  # the runner's affair
        if given.base:
            facts["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = commit(given.base)
        else:
            facts["CI_COMMIT_BRANCH"] = "main"
        variables = own | {"TESTSTRIP_KEEP": str(keep)}
        jobs = GitLabJobs(given.project, given.work.resolve(), env, variables)
        ran = jobs.run(commit("HEAD"), **facts)
        for one in ran:
            print(f"===== {one.job}, attempt {one.attempt}: {one.reason or 'done'}\n{one.log}")
        for note in gitlab.notes[1]:
            print(f"===== the note\n{note.body}")
    finally:
        gitlab.close()
    return int(not ran or bool(ran[-1].reason))


if __name__ == "__main__":
    sys.exit(main())
