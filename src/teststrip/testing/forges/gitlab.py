"""GitLab's notes and uploads as https://docs.gitlab.com/api/ describes them; one project."""

import itertools
import re
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from teststrip.testing.forges.server import Answered, Ask, Server, page

REPORTER, MAINTAINER = 20, 40
LONGEST_NOTE = 1_000_000
JOB_TOKEN = "glcbt-64_this-jobs-own"  # noqa: S105 - of a server that lives for one test
_BASE = "/api/v4"
_NOTES = _BASE + r"/projects/([^/]+)/merge_requests/(\d+)/notes"
_QUICK = re.compile(r"^/[a-z_]+.*$", re.MULTILINE)
_FENCED = re.compile(r"```.*?```", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A token's user, its role in the project (0: none) and its scopes."""

    user: int
    role: int = REPORTER
    scopes: frozenset[str] = frozenset({"api"})


@dataclass
class Note:
    """A note as the server keeps it."""

    id: int
    author: int
    body: str
    system: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As the interface shows it."""
        author = {"id": self.author, "username": f"user{self.author}"}
        return {"id": self.id, "body": self.body, "author": author, "system": self.system}


@dataclass
class _Held:
    notes: dict[int, list[Note]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)


class GitLab(Server):
    """One project, `group/project`. `notes`: of each merge request; `uploads`: files by address.

    `commands`: quick actions that somebody's note carried out; a report must cause none.
    """

    def __init__(
        self,
        merge_requests: Iterable[int] = (1,),
        *,
        project: int = 5,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self.project = project
        self.tokens = {"glpat-reports": Token(901)}
        held = _Held({iid: [] for iid in merge_requests})
        self.notes, self.uploads, self.commands = held.notes, held.uploads, held.commands
        self._ids = itertools.count(1)
        self.api, self.web = f"{self.address}{_BASE}", f"{self.address}/group/project"
        self.serve("GET", f"{_BASE}/user", self._user)
        self.serve("GET", _NOTES, self._list)
        self.serve("POST", _NOTES, self._make)
        self.serve("PUT", _NOTES + r"/(\d+)", self._change)
        self.serve("DELETE", _NOTES + r"/(\d+)", self._remove)
        self.serve("POST", _BASE + r"/projects/([^/]+)/uploads", self._upload)
        self.serve("GET", r"(?:/group/project|/-/project/\d+)(/uploads/.+)", self._file)

    def variables(
        self,
        checkout: Path,
        number: int | None = 1,
        *,
        pipeline: int = 100,
        token: str = "glpat-reports",  # noqa: S107
    ) -> dict[str, str]:
        """What a job's environment holds; `number` None: of a branch's pipeline."""
        given = {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_API_V4_URL": self.api,
            "CI_SERVER_URL": self.address,
            "CI_PROJECT_ID": str(self.project),
            "CI_PROJECT_PATH": "group/project",
            "CI_PROJECT_URL": self.web,
            "CI_PROJECT_DIR": str(checkout),
            "CI_PIPELINE_ID": str(pipeline),
            "CI_JOB_URL": f"{self.web}/-/jobs/{pipeline}1",
            "CI_JOB_TOKEN": JOB_TOKEN,
            "CI_COMMIT_SHA": f"{pipeline:040x}",
            "CI_PIPELINE_SOURCE": "push" if number is None else "merge_request_event",
        }
        if token:
            given["TESTSTRIP_GITLAB_TOKEN"] = token
        if number is not None:
            given |= {
                "CI_MERGE_REQUEST_IID": str(number),
                "CI_MERGE_REQUEST_PROJECT_ID": str(self.project),
                "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": str(self.project),
                "CI_MERGE_REQUEST_PROJECT_URL": self.web,
                "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            }
        return given

    def says(self, author: int, body: str, number: int = 1, *, system: bool = False) -> Note:
        """Somebody writes a note."""
        with self.lock:
            note = Note(next(self._ids), author, body, system)
            self.notes[number].append(note)
        return note

    def _token(self, ask: Ask, *, to_write: bool = False) -> Token:
        given = ask.headers.get("private-token", "")
        bearer = ask.headers.get("authorization", "")
        given = given or bearer.removeprefix("Bearer ")
        token = self.tokens.get(given)
        if token is None:  # a job's token is none for these calls
            raise Answered(401, {"message": "401 Unauthorized"})
        if "api" not in token.scopes and (to_write or "read_api" not in token.scopes):
            raise Answered(
                403,
                {
                    "error": "insufficient_scope",
                    "error_description": "The request requires higher privileges than provided "
                    "by the access token.",
                    "scope": "api",
                },
            )
        return token

    def _project(self, ask: Ask, *, to_write: bool = False) -> Token:
        token = self._token(ask, to_write=to_write)
        if not token.role or ask.found[0] not in (str(self.project), "group/project"):
            raise Answered(404, {"message": "404 Project Not Found"})
        if token.role < REPORTER:
            raise Answered(403, {"message": "403 Forbidden"})
        return token

    def _user(self, ask: Ask) -> Any:
        user = self._token(ask).user
        return {"id": user, "username": f"project_{self.project}_bot_{user}", "bot": True}

    def _notes(self, ask: Ask) -> list[Note]:
        notes = self.notes.get(int(ask.found[1]))
        if notes is None:
            raise Answered(404, {"message": "404 Not found"})
        return notes

    def _list(self, ask: Ask) -> Any:
        self._project(ask)
        is_up = ask.query.get("sort", "desc") == "asc"
        notes = sorted(self._notes(ask), key=lambda note: note.id, reverse=not is_up)
        shown, number, more = page(ask, [note.as_dict() for note in notes], 20)
        raise Answered(200, shown, {"X-Page": str(number), "X-Next-Page": str(more or "")})

    def _body(self, ask: Ask) -> str:
        body = ask.data().get("body") or ask.query.get("body")
        if not body:
            raise Answered(400, {"error": "body is missing"})
        if len(body) > LONGEST_NOTE:
            said = f"is too long (maximum is {LONGEST_NOTE} characters)"
            raise Answered(400, {"message": {"note": [said]}})
        self.commands += _QUICK.findall(_FENCED.sub("", body))
        return str(body).strip()

    def _make(self, ask: Ask) -> Any:
        token, notes = self._project(ask, to_write=True), self._notes(ask)
        note = Note(next(self._ids), token.user, self._body(ask))
        notes.append(note)
        raise Answered(201, note.as_dict())

    def _one(self, ask: Ask) -> Note:
        token, notes = self._project(ask, to_write=True), self._notes(ask)
        note = next((note for note in notes if note.id == int(ask.found[2])), None)
        if note is None:
            raise Answered(404, {"message": "404 Note Not Found"})
        if note.author != token.user and token.role < MAINTAINER:
            raise Answered(403, {"message": "403 Forbidden"})
        return note

    def _change(self, ask: Ask) -> Any:
        note = self._one(ask)
        note.body = self._body(ask)
        return note.as_dict()

    def _remove(self, ask: Ask) -> Any:
        note = self._one(ask)
        self._notes(ask).remove(note)
        raise Answered(204)

    def _upload(self, ask: Ask) -> Any:
        self._project(ask, to_write=True)
        head = f"Content-Type: {ask.headers['content-type']}\r\n\r\n".encode()
        form = BytesParser().parsebytes(head + ask.body)
        for part in form.walk():
            name, content = part.get_filename(), part.get_payload(decode=True)
            if name and isinstance(content, bytes):
                at = f"/uploads/{secrets.token_hex(16)}/{name}"
                self.uploads[at] = content
                alt = name.rpartition(".")[0]
                raise Answered(
                    201,
                    {
                        "id": len(self.uploads),
                        "alt": alt,
                        "url": at,
                        "full_path": f"/-/project/{self.project}{at}",
                        "markdown": f"![{alt}]({at})",
                    },
                )
        raise Answered(400, {"error": "file is missing"})

    def _file(self, ask: Ask) -> Any:
        if ask.found[0] not in self.uploads:
            raise Answered(404)
        return self.uploads[ask.found[0]]
