"""GitHub: pictures on the branch teststrip-reports, for comments take none by REST.

The branch shares no commit with the code and holds the newest report's pictures of each pull
request, named by their content. It is only ever moved forward: of two jobs that write at once the
second starts again from what the first wrote. Addresses name the commit, so older ones stay true.
https://docs.github.com/rest/git
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teststrip.project.forge.client import Client, Refused
from teststrip.project.forge.place import Place

NAME = "teststrip-reports"
TRIES = 8


class Branch:
    """The branch of one repository."""

    def __init__(self, client: Client, place: Place) -> None:
        self._client, self._place = client, place
        self._git = f"/repos/{place.project}/git"

    def keep(self, files: Mapping[str, Path], folder: str) -> dict[str, str]:
        """Put `files` (by SHA-256) into `folder`, in place of what is there; their addresses.

        Raises Refused (403 or 404: the token may not write here), Unreachable.
        """
        names = {digest: f"{folder}/{digest[:16]}{file.suffix}" for digest, file in files.items()}
        blobs = {names[digest]: self._blob(file) for digest, file in files.items()}
        for attempt in range(TRIES):
            head = self._head()
            commit = self._commit(head, blobs, folder)
            try:
                if commit != head:
                    self._move(head, commit)
            except Refused as exc:  # another job was quicker
                if exc.status not in (409, 422) or attempt == TRIES - 1:
                    raise
                continue
            web = f"{self._place.web}/blob/{commit}"
            return {digest: f"{web}/{name}?raw=true" for digest, name in names.items()}
        raise AssertionError("every attempt returns or raises")

    def _blob(self, file: Path) -> str:
        content = base64.b64encode(file.read_bytes()).decode()
        return self._made("blobs", {"content": content, "encoding": "base64"})

    def _head(self) -> str:
        """The branch's commit; empty where there is no branch yet."""
        try:
            answer = self._client.ask("GET", f"{self._git}/ref/heads/{NAME}")
        except Refused as exc:
            if exc.status == 404:
                return ""
            raise
        return str(answer.data["object"]["sha"])

    def _commit(self, head: str, blobs: Mapping[str, str], folder: str) -> str:
        """A commit on `head` that holds exactly these blobs in `folder`; `head` where it does."""
        there: dict[str, str] = {}
        tree: dict[str, Any] = {}
        if head:
            base = str(self._client.ask("GET", f"{self._git}/commits/{head}").data["tree"]["sha"])
            tree["base_tree"] = base
            listed = self._client.ask("GET", f"{self._git}/trees/{base}", query={"recursive": 1})
            there = {
                entry["path"]: entry["sha"]
                for entry in listed.data["tree"]
                if entry["type"] == "blob" and entry["path"].startswith(f"{folder}/")
            }
            if there == blobs:
                return head
        gone: list[tuple[str, str | None]] = [(path, None) for path in there if path not in blobs]
        tree["tree"] = [
            {"path": path, "mode": "100644", "type": "blob", "sha": sha}
            for path, sha in (*blobs.items(), *gone)
        ]
        said = f"Pictures of the report on pull request {self._place.number}"
        return self._made(
            "commits",
            {
                "message": said,
                "tree": self._made("trees", tree),
                "parents": [head] if head else [],
            },
        )

    def _move(self, head: str, commit: str) -> None:
        if not head:
            self._made("refs", {"ref": f"refs/heads/{NAME}", "sha": commit})
            return
        data = {"sha": commit, "force": False}
        self._client.ask("PATCH", f"{self._git}/refs/heads/{NAME}", data=data)

    def _made(self, what: str, data: Any) -> str:
        answer = self._client.ask("POST", f"{self._git}/{what}", data=data)
        return str(answer.data.get("sha") or answer.data["object"]["sha"])
