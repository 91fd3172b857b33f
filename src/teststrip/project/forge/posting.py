"""The report on its merge request, in order; or a rehearsal that says what would be posted."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError, StudyError
from teststrip.files import storage_error
from teststrip.project.forge.note import Report, compose, kept_pictures, summary
from teststrip.project.forge.patience import Patience
from teststrip.project.forge.place import Place

if TYPE_CHECKING:
    from teststrip.project.forge.one_note import Note, Notes, What

NOWHERE = Place("gitlab", "", "", None, 0, "", "", Path())
SAID = {
    "made": "posted",
    "updated": "posted: the note that was there is up to date",
    "unchanged": "posted already: the note says the same",
    "newer": "not posted: a newer pipeline's report is there",
}


@dataclass(frozen=True)
class Posted:
    """What became of a report. `said`: in one line; `url`: the note; `body`: its text.

    `dry`: nothing was sent. `pictures`: names of the files that the text shows.
    """

    said: str
    url: str = ""
    body: str = ""
    pictures: tuple[str, ...] = ()
    dry: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "said": self.said,
            "url": self.url or None,
            "dry": self.dry,
            "pictures": list(self.pictures),
            "body": self.body,
        }

    def __str__(self) -> str:
        if not self.dry:
            return f"{self.said}: {self.url}" if self.url else self.said
        shown = f"pictures beside it: {', '.join(self.pictures) or 'none'}"
        return f"{self.said}\n{shown}\n\n{self.body}" if self.body else self.said


def post(
    place: Place | None,
    folder: Path,
    *,
    name: str = "",
    wanted: bool | None = None,
    patience: Patience | None = None,
) -> Posted:
    """Post report.md of `folder` on the merge request of `place`, in place of an earlier one.

    `wanted` True: what keeps it from being posted is an error; None: it is posted where that can
    be done, else it says why not; False: a rehearsal. Outside CI (`place` None) it is always one.
    `name` tells the reports of several projects in one repository apart: the project's folder
    inside the repository, empty for the repository itself.

    Raises StudyError (nothing to post, or nowhere and `wanted`), StorageError (the server refuses
    the token or does not answer), MissingExtra.
    """
    report = Report.read(folder, name)
    if wanted is False or place is None:
        if wanted:
            raise StudyError("--post: this is no job of GitLab's or GitHub's CI; leave it away")
        return _rehearsed(report, place)
    if place.summary is not None:
        _append(place.summary, summary(report, place))
    obstacle = place.obstacle
    if place.number is None:
        obstacle = "this job belongs to no merge request"
    if obstacle:
        if wanted:
            raise StudyError(f"--post: {obstacle}")
        return Posted(_with_summary(place, f"not posted: {obstacle}"))
    return _sent(report, place, patience or Patience())


def _sent(report: Report, place: Place, patience: Patience) -> Posted:
    from teststrip.project.forge.client import Refused

    digests = {
        shown: hashlib.sha256(file.read_bytes()).hexdigest()
        for shown, file in report.pictures.items()
    }
    try:
        with _explained(place):
            note, what = _written(report, place, digests, patience)
    except Refused as exc:
        if place.is_lesser and exc.status in (401, 403, 404):
            return Posted(
                _with_summary(
                    place,
                    "not posted: this merge request comes from a fork or from Dependabot, whose "
                    "token may only read",
                )
            )
        raise
    said = _with_summary(place, SAID[what])
    return Posted(said, note.url, note.body, tuple(report.pictures))


def _written(
    report: Report, place: Place, digests: Mapping[str, str], patience: Patience
) -> "tuple[Note, What]":
    from teststrip.project.forge.github import GitHub
    from teststrip.project.forge.gitlab import GitLab
    from teststrip.project.forge.one_note import write

    files = {digests[shown]: file for shown, file in report.pictures.items()}
    forge = GitLab(place, patience) if place.forge == "gitlab" else GitHub(place, patience)

    def body(before: str) -> str:
        if isinstance(forge, GitLab):
            at = forge.pictures(files, kept_pictures(before))
            remember: Mapping[str, str] = at
        else:  # its addresses follow from the content
            at = forge.pictures(files, f"{place.number}-{report.key}") if files else {}
            remember = {}
        named = {shown: at[digest] for shown, digest in digests.items() if digest in at}
        return compose(report, place, named, remember=remember)

    notes: Notes = forge
    try:
        return write(notes, report.key, place.run, body, pause_s=patience.first_s)
    finally:
        forge.close()


@contextmanager
def _explained(place: Place) -> Iterator[None]:
    """A refusal, with what to do about it."""
    from teststrip.project.forge.client import Refused

    try:
        yield
    except Refused as exc:
        advice = _ADVICE[place.forge].get(exc.status)
        raise Refused(
            f"the report was not posted: {exc}" + (f"; {advice}" if advice else ""), exc.status
        ) from exc
    except StorageError as exc:
        raise StorageError(f"the report was not posted: {exc}; run the job again") from exc
    except (LookupError, TypeError, AttributeError) as exc:  # a field that is not there
        raise StorageError(
            f"the report was not posted: {place.api} answers in another form than {place.forge} "
            f"documents ({type(exc).__name__}: {str(exc)[:200]}); is it the right address?"
        ) from exc


_ADVICE = {
    "gitlab": {
        401: "TESTSTRIP_GITLAB_TOKEN is wrong, expired or revoked; make a new project access "
        "token (role Reporter, scope api)",
        403: "TESTSTRIP_GITLAB_TOKEN needs the role Reporter and the scope api",
        404: "GitLab says so too where the token may not see the project; it must be one of the "
        "project that the merge request goes to",
    },
    "github": {
        401: "GITHUB_TOKEN is wrong or expired",
        403: "the job needs permissions: pull-requests: write",
        404: "GitHub says so too where the token may not see the repository",
    },
}


def _rehearsed(report: Report, place: Place | None) -> Posted:
    at = place or NOWHERE
    if place is None:
        said = "Rehearsal outside CI: nothing was posted. A merge request's job would post this:"
    else:
        where = f"{at.web}, number {at.number}" if at.number is not None else "no merge request"
        said = f"Rehearsal: nothing was posted. For {at.forge}, {where}:"
    shown = {name: name for name in report.pictures}
    body = compose(report, at, shown, remember={})
    return Posted(said, body=body, pictures=tuple(report.pictures), dry=True)


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as summary_file:
            summary_file.write(text)
    except OSError as exc:
        raise storage_error(file, exc) from exc


def _with_summary(place: Place, said: str) -> str:
    return f"{said}; it stands in the step's summary" if place.summary is not None else said
