"""GitHub's comments as https://docs.github.com/rest describes them; one repository.

The addresses are those of GitHub Enterprise Server (/api/v3, /api/graphql); calls are the same.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.testing.forges.commits import Commits
from teststrip.testing.forges.server import Answered, Ask, Server, page

BOT = 41898282  # github-actions[bot]
LONGEST_COMMENT = 65_536
_REPO = r"/api/v3/repos/([^/]+)/([^/]+)"
_INTEGRATION = {"message": "Resource not accessible by integration"}


@dataclass(frozen=True)
class Token:
    """Whose it is and what it may: `issues` and `contents` "read" or "write"."""

    user: int = BOT
    is_app: bool = True
    issues: str = "write"
    contents: str = "read"


@dataclass
class Comment:
    """A comment as the server keeps it. `number`: of its pull request."""

    id: int
    number: int
    author: int
    body: str


@dataclass
class _Held:
    comments: list[Comment] = field(default_factory=list)


class GitHub(Server):
    """Repository `owner/repo`, whose git database lies in `folder`. `comments`: all, in order."""

    def __init__(self, folder: Path, pulls: Iterable[int] = (1,)) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.pulls = folder, set(pulls)
        self.tokens = {"ghs_job": Token()}
        self.comments = _Held().comments
        self.commits = Commits(folder / "repo.git")
        self._ids = itertools.count(1)
        self.api, self.web = f"{self.address}/api/v3", f"{self.address}/owner/repo"
        self.serve("POST", "/api/graphql", self._graphql)
        self.serve("GET", "/api/v3/user", self._user)
        self.serve("GET", _REPO + r"/issues/(\d+)/comments", self._list)
        self.serve("POST", _REPO + r"/issues/(\d+)/comments", self._make)
        self.serve("PATCH", _REPO + r"/issues/comments/(\d+)", self._change)
        self.serve("DELETE", _REPO + r"/issues/comments/(\d+)", self._remove)
        self.serve("GET", r"/owner/repo/blob/([0-9a-f]{40})/(.+)", self._file)
        git = self.commits
        for method, path, route in (
            ("GET", r"/git/ref/heads/(.+)", git.get_ref),
            ("GET", r"/git/commits/(\w+)", git.get_commit),
            ("GET", r"/git/trees/(\w+)", git.get_tree),
            ("POST", r"/git/(blobs)", git.make_blob),
            ("POST", r"/git/(trees)", git.make_tree),
            ("POST", r"/git/(commits)", git.make_commit),
            ("POST", r"/git/(refs)", git.make_ref),
            ("PATCH", r"/git/refs/heads/(.+)", git.move_ref),
        ):
            self.serve(method, _REPO + path, self._contents(route))

    def variables(
        self,
        checkout: Path,
        number: int | None = 1,
        *,
        run: int = 7000,
        token: str = "ghs_job",  # noqa: S107
        head: str = "owner/repo",
    ) -> dict[str, str]:
        """What a step's environment holds; `number` None: of a push. `head`: whose branch it is."""
        event: dict[str, Any] = {}
        if number is not None:
            event = {
                "number": number,
                "pull_request": {
                    "number": number,
                    "head": {"sha": f"{run:040x}", "repo": {"full_name": head}},
                    "base": {"repo": {"full_name": "owner/repo"}},
                },
            }
        file, summary = self._folder / f"event-{run}.json", self._folder / f"summary-{run}.md"
        file.write_text(json.dumps(event))
        summary.touch()
        given = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.api,
            "GITHUB_GRAPHQL_URL": f"{self.address}/api/graphql",
            "GITHUB_SERVER_URL": self.address,
            "GITHUB_REPOSITORY": "owner/repo",
            "GITHUB_RUN_ID": str(run),
            "GITHUB_SHA": "f" * 40,
            "GITHUB_REF": "refs/heads/main" if number is None else f"refs/pull/{number}/merge",
            "GITHUB_EVENT_NAME": "push" if number is None else "pull_request",
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_WORKSPACE": str(checkout),
        }
        return given | ({"GITHUB_TOKEN": token} if token else {})

    def says(self, author: int, body: str, number: int = 1) -> Comment:
        """Somebody writes a comment."""
        with self.lock:
            comment = Comment(next(self._ids), number, author, body)
            self.comments.append(comment)
        return comment

    def _token(self, ask: Ask) -> Token:
        if "user-agent" not in ask.headers:
            raise Answered(403, {"message": "Request forbidden by administrative rules."})
        given = ask.headers.get("authorization", "").removeprefix("Bearer ")
        if given not in self.tokens:
            raise Answered(401, {"message": "Bad credentials"})
        return self.tokens[given]

    def _repo(self, ask: Ask) -> Token:
        token = self._token(ask)
        if ask.found[:2] != ("owner", "repo"):
            raise Answered(404, {"message": "Not Found"})
        return token

    def _contents(self, route: Any) -> Any:
        def checked(ask: Ask) -> Any:
            token = self._repo(ask)
            if ask.method != "GET" and token.contents != "write":
                raise Answered(403, _INTEGRATION)
            return route(ask)

        return checked

    def _graphql(self, ask: Ask) -> Any:
        user = self._token(ask).user
        login = "github-actions[bot]" if user == BOT else f"user{user}"
        return {"data": {"viewer": {"login": login, "databaseId": user}}}

    def _user(self, ask: Ask) -> Any:
        token = self._token(ask)
        if token.is_app:
            raise Answered(403, _INTEGRATION)
        return {"id": token.user, "login": f"user{token.user}"}

    def _shown(self, comment: Comment) -> Mapping[str, Any]:
        at = f"{self.web}/pull/{comment.number}#issuecomment-{comment.id}"
        is_bot = comment.author == BOT
        user = {"id": comment.author, "type": "Bot" if is_bot else "User"}
        return {"id": comment.id, "body": comment.body, "user": user, "html_url": at}

    def _pull(self, ask: Ask) -> int:
        if int(ask.found[2]) not in self.pulls:
            raise Answered(404, {"message": "Not Found"})
        return int(ask.found[2])

    def _list(self, ask: Ask) -> Any:
        self._repo(ask)
        number = self._pull(ask)
        found = [self._shown(comment) for comment in self.comments if comment.number == number]
        shown, _, more = page(ask, found, 30)
        link = f'<{self.address}{ask.path}?page={more}>; rel="next"'
        raise Answered(200, shown, {"Link": link} if more else {})

    def _body(self, ask: Ask) -> str:
        body = ask.data().get("body")
        if not body or len(body) > LONGEST_COMMENT:
            said = (
                "Body is too long (maximum is 65536 characters)" if body else "Body can't be blank"
            )
            raise Answered(422, {"message": "Validation Failed", "errors": [{"message": said}]})
        return str(body)

    def _may_write(self, ask: Ask) -> Token:
        token = self._repo(ask)
        if token.issues != "write":
            raise Answered(403, _INTEGRATION)
        return token

    def _make(self, ask: Ask) -> Any:
        token, number = self._may_write(ask), self._pull(ask)
        comment = Comment(next(self._ids), number, token.user, self._body(ask))
        self.comments.append(comment)
        raise Answered(201, self._shown(comment))

    def _one(self, ask: Ask) -> Comment:
        self._may_write(ask)
        for comment in self.comments:
            if comment.id == int(ask.found[2]):
                return comment
        raise Answered(404, {"message": "Not Found"})

    def _change(self, ask: Ask) -> Any:
        comment = self._one(ask)
        comment.body = self._body(ask)
        return self._shown(comment)

    def _remove(self, ask: Ask) -> Any:
        self.comments.remove(self._one(ask))
        raise Answered(204)

    def _file(self, ask: Ask) -> Any:
        content = self.commits.file(*ask.found)
        if content is None or ask.query.get("raw") != "true":
            raise Answered(404)
        return content
