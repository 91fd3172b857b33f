"""GitHub's comments on a pull request.

https://docs.github.com/rest/issues/comments. Who the token is, only GraphQL tells: a job's own
token, an app's as well, may not ask REST for its user.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.project.forge.branch import Branch
from teststrip.project.forge.client import Client, Refused
from teststrip.project.forge.note import marked
from teststrip.project.forge.one_note import Note
from teststrip.project.forge.patience import Patience
from teststrip.project.forge.place import Place


class GitHub:
    """The comments of one pull request (see `one_note.Notes`), and pictures for them."""

    def __init__(self, place: Place, patience: Patience) -> None:
        self._place = place
        headers = {
            "Authorization": f"Bearer {place.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        self._client = Client(place.api, headers, place.token, patience=patience)
        self._issues = f"/repos/{place.project}/issues"
        self._me: int | None = None

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def ours(self, key: str) -> Sequence[Note]:
        """Comments of the token's own user with this key, oldest first."""
        if self._me is None:
            self._me = self._viewer()
        found = [
            self._note(entry)
            for entry in self._client.pages(f"{self._issues}/{self._place.number}/comments")
            if (entry.get("user") or {}).get("id") == self._me  # a deleted user's has none
        ]
        fitting = [note for note in found if (mark := marked(note.body)) and mark.key == key]
        return sorted(fitting, key=lambda note: note.id)

    def _viewer(self) -> int:
        asked = {"query": "{ viewer { login databaseId } }"}
        answer = self._client.ask("POST", self._place.graphql, data=asked)
        try:
            return int(answer.data["data"]["viewer"]["databaseId"])
        except (KeyError, TypeError) as exc:
            said = str(answer.data)[:200]
            raise Refused(
                f"{self._place.graphql}: does not say whose token it is: {said}", 200
            ) from exc

    def make(self, body: str) -> Note:
        """A new comment."""
        path = f"{self._issues}/{self._place.number}/comments"
        return self._note(
            self._client.ask("POST", path, data={"body": body}, is_repeatable=False).data
        )

    def change(self, note: Note, body: str) -> Note:
        """Another text for a comment."""
        path = f"{self._issues}/comments/{note.id}"
        return self._note(self._client.ask("PATCH", path, data={"body": body}).data)

    def remove(self, note: Note) -> None:
        """Take a comment away; one that is gone is no fault."""
        try:
            self._client.ask("DELETE", f"{self._issues}/comments/{note.id}")
        except Refused as exc:
            if exc.status != 404:
                raise

    def pictures(self, files: Mapping[str, Path], folder: str) -> dict[str, str]:
        """Addresses by SHA-256; empty where it may not write to the repository.

        The token may not (403, 404), or a rule for branches keeps it out (409, 422).
        """
        try:
            return Branch(self._client, self._place).keep(files, folder)
        except Refused as exc:
            if exc.status in (403, 404, 409, 422):
                return {}
            raise

    def _note(self, entry: Mapping[str, Any]) -> Note:
        return Note(int(entry["id"]), str(entry.get("body") or ""), str(entry["html_url"]))
