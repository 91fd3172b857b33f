"""The project as git sees it."""

import os
import shutil

from teststrip.project.doctor.finding import Finding, failed, passed, warned
from teststrip.project.doctor.visit import Visit
from teststrip.project.layout import IMAGES, WORK

LARGE_MB = 5
_SHOWN = 5


def git(visit: Visit) -> Finding:
    """Is the project in a git repository, with a commit?"""
    if not shutil.which("git"):
        return failed("no program git here", "install it: DVC, experiments and reports need it")
    if not visit.has_git:
        return failed(
            "in no git repository: DVC cannot run here, and nothing says what changed",
            "git init && git add . && git commit -m 'First version'",
        )
    top = visit.git("rev-parse", "--show-toplevel").out.strip()
    if visit.git("check-ignore", "-q", "--", str(visit.root.resolve())).code == 0:
        return failed(f"{top} ignores this folder", "mend its .gitignore, or move the project out")
    head = visit.git("rev-parse", "--verify", "--short", "HEAD")
    if head.code:
        return warned(
            "no commit yet: experiments and reports compare with one",
            "git add . && git commit -m 'First version'",
        )
    shallow = visit.git("rev-parse", "--is-shallow-repository").out.strip() == "true"
    where = "" if os.path.realpath(top) == str(visit.root.resolve()) else f", a part of {top}"
    if shallow:
        return warned(
            f"commit {head.out.strip()}{where}; a shallow clone, so older revisions are not here",
            "git fetch --unshallow (CI: GIT_DEPTH 0, fetch-depth 0) before reports",
        )
    return passed(f"commit {head.out.strip()}{where}")


def identity(visit: Visit) -> Finding:
    """Who commits? Experiments are commits too."""
    names = {"user.name": "GIT_COMMITTER_NAME", "user.email": "GIT_COMMITTER_EMAIL"}
    missing = [
        key
        for key, variable in names.items()
        if not (visit.git("config", key).out.strip() or os.environ.get(variable, "").strip())
    ]
    if missing:
        mend = " && ".join(f"git config {key} '...'" for key in missing)
        return warned(f"git does not know {' and '.join(missing)}: commits are refused", mend)
    return passed("known")


def committed(visit: Visit) -> Finding:
    """What is here that no commit holds?"""
    said = visit.git("status", "--porcelain=v1", "--untracked-files=normal", "-z", "--", ".")
    if said.code:
        return failed(f"git status: {said.error}", "mend the repository: git fsck")
    changed, names = said.out.split("\0"), []
    while changed:
        entry = changed.pop(0)
        if not entry:
            continue
        if entry[0] in "RC":  # the old name follows as an entry of its own
            changed.pop(0)
        names.append(f"{entry[:2].strip()} {entry[3:]}")
    if not names:
        return passed("everything")
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return warned(
        f"{len(names)} not committed: {', '.join(names[:_SHOWN])}{more}",
        "git add and git commit: lock records name a commit, and a report compares commits",
    )


def kept(visit: Visit) -> Finding:
    """Does git keep what belongs to DVC, or what belongs nowhere?"""
    outputs = {out for stage in visit.stages for out in stage.outputs}
    if visit.kind != "study":
        outputs.add(IMAGES)
    wrong = []
    for place in sorted(outputs | {WORK, ".dvc/cache", ".dvc/tmp", ".dvc/config.local"}):
        inside = [n for n in visit.tracked if n == place or n.startswith(f"{place}/")]
        inside = [n for n in inside if not n.endswith(".gitignore")]
        if inside:
            whose = "DVC keeps it" if place in outputs else "it stays on one machine"
            wrong.append(f"{place} ({len(inside)} files; {whose})")
    if wrong:
        names = " ".join(entry.partition(" ")[0] for entry in wrong)
        mend = f"git rm -r --cached {names} && git commit"
        return failed("git keeps what it must not", mend, wrong)
    local = (WORK, ".dvc/cache", ".dvc/config.local")
    open_ = [p for p in local if visit.git("check-ignore", "-q", "--", f"{p}/x").code]
    open_ = [p for p in open_ if visit.git("check-ignore", "-q", "--", p).code]
    if open_:
        return warned(
            f"git does not ignore {', '.join(open_)}",
            f"add to .gitignore: {' '.join(f'/{place}' for place in open_)}",
        )
    return passed("results, runs and secrets stay out of git")


def large(visit: Visit) -> Finding:
    """Large files make every clone slow, for ever."""
    found = []
    for name in visit.tracked:
        try:
            size = (visit.root / name).lstat().st_size
        except OSError:  # deleted and not yet committed
            continue
        if size > LARGE_MB * 1_000_000:
            found.append(f"{name} ({size / 1e6:.0f} MB)")
    if found:
        mend = "git rm --cached FILE && dvc add FILE; a pushed commit keeps it in the history"
        return warned(f"{len(found)} files of more than {LARGE_MB} MB in git", mend, found)
    return passed(f"no file of more than {LARGE_MB} MB in git")
