"""`project report --base REF`: the change written down, then posted or rehearsed."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, TeststripError
from teststrip.project.layout import REPORT

if TYPE_CHECKING:
    from teststrip.project.forge import Posted
    from teststrip.project.project import Project
    from teststrip.project.report.content import Content
    from teststrip.project.report.verdict import Verdict

COMPARISON = "comparison"


@dataclass(frozen=True)
class Written:
    """A report in `folder`, and what became of it. `fault`: why it could not be posted."""

    folder: Path
    files: tuple[str, ...]
    content: "Content" = field(repr=False)
    posted: "Posted | None" = None
    fault: str = ""

    @property
    def ok(self) -> bool:
        """It was written, and posted where that was asked for. The verdict does not matter."""
        return not self.fault

    @property
    def verdict(self) -> "Verdict":
        """Of the change."""
        return self.content.verdict

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "verdict": self.verdict.word,
            "headline": self.verdict.headline,
            "detail": self.verdict.detail,
            "notes": [*self.verdict.notes, *self.content.warnings, *self.content.pictures.missing],
            "scores": [_score(pair) for pair in self.content.found if not self.content.alone],
            "changed": [dict(vars(one)) for one in self.content.changes or ()],
            "ran": [dict(vars(one)) for one in self.content.ran or ()],
            "folder": str(self.folder),
            "files": list(self.files),
            "posted": self.posted.as_dict() if self.posted else None,
            "fault": self.fault or None,
        }

    def __str__(self) -> str:
        notes = [*self.verdict.notes, *self.content.warnings, *self.content.pictures.missing]
        out = [self.verdict.headline]
        out += [f"  {self.verdict.detail}"] if self.verdict.detail else []
        out += [f"  note: {note}" for note in notes]
        out += [f"  {self.folder / name}" for name in self.files]
        out += [str(self.posted)] if self.posted else []
        out += [f"not posted: {self.fault}"] if self.fault else []
        return "\n".join(out)


def report(root: Path, base: str, *, out: Path | None = None, post: bool | None = None) -> Written:
    """Compare the project as it lies here with revision `base`; write and post the report.

    Raises ConfigError for no project, an unknown revision, a score that is not there or an `out`
    that DVC keeps; StudyError without git; StorageError where it cannot be written. That it could
    not be posted is no error here: the report is there, and `fault` says why.
    """
    from teststrip.project.project import Project
    from teststrip.project.report.content import change, choose
    from teststrip.project.report.files import write
    from teststrip.project.report.results import read
    from teststrip.project.revision import at, here

    project = Project.open(root)
    folder = _folder(project, out)
    then = at(root, base)
    before, after = read(then), read(here(root, then.repository))
    options = project.params.report
    score = choose(after, options.score)
    if after.scores and score not in after.scores:
        known = ", ".join(("auto", *after.scores))
        raise ConfigError(f"params.yaml: report.score {options.score!r}: {known} are accepted")
    content = change(before, after, options.score, options.confidence)
    names = write(content, folder)
    prefix = then.repository.prefix if then.repository else ""
    posted, fault = _posted(folder, prefix.rstrip("/"), post)
    return Written(folder, names, content, posted, fault)


def _posted(folder: Path, name: str, wanted: bool | None) -> "tuple[Posted | None, str]":
    from teststrip.project.forge import place_from, post

    try:
        return post(place_from(os.environ), folder, name=name, wanted=wanted), ""
    except TeststripError as exc:
        return None, str(exc)


def _folder(project: "Project", out: Path | None) -> Path:
    """Where the report goes. Raises ConfigError for a place that a stage writes."""
    folder = out or project.root / COMPARISON
    inside = folder.resolve()
    for stage in project.stages:
        for name in stage.outputs:
            if inside.is_relative_to(project.path(name).resolve()):
                raise ConfigError(
                    f"--out {out}: stage {stage.name} writes {name}/, which DVC keeps "
                    f"({REPORT}/ is the report of one revision alone); choose another folder"
                )
    return folder


def _score(pair: Any) -> dict[str, Any]:
    gain = pair.found.gain
    return {
        "score": pair.score,
        "higher_is_better": pair.higher_is_better,
        "before": pair.before.mean,
        "after": pair.after.mean,
        "gain": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "p": pair.found.p_t,
        "p_holm": pair.found.p_holm,
        "prompts": pair.found.prompts,
        "pairs": pair.found.images,
        "prompts_needed": pair.needed,
        "verdict": pair.found.verdict,
    }
