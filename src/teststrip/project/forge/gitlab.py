"""GitLab's notes and uploads, on the project that the merge request goes to.

https://docs.gitlab.com/api/notes/ and https://docs.gitlab.com/api/project_markdown_uploads/
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from teststrip.project.forge.client import Client, Refused
from teststrip.project.forge.note import marked
from teststrip.project.forge.one_note import Note
from teststrip.project.forge.patience import Patience
from teststrip.project.forge.place import Place

_UPLOAD = re.compile(r"/uploads/[0-9a-f]{32}/[A-Za-z0-9._-]+")


class GitLab:
    """The notes of one merge request (see `one_note.Notes`), and pictures for them."""

    def __init__(self, place: Place, patience: Patience) -> None:
        self._place = place
        self._client = Client(
            place.api,
            {"PRIVATE-TOKEN": place.token},
            place.token,
            patience=patience,
            certificates=place.certificates,
        )
        self._project = f"/projects/{quote(place.project, safe='')}"
        self._notes = f"{self._project}/merge_requests/{place.number}/notes"
        self._me: int | None = None

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def ours(self, key: str) -> Sequence[Note]:
        """Notes of the token's own user with this key, oldest first."""
        if self._me is None:
            self._me = int(self._client.ask("GET", "/user").data["id"])
        query = {"sort": "asc", "order_by": "created_at"}
        found = [
            self._note(entry)
            for entry in self._client.pages(self._notes, query)
            if entry["author"]["id"] == self._me and not entry.get("system")
        ]
        fitting = [note for note in found if (mark := marked(note.body)) and mark.key == key]
        return sorted(fitting, key=lambda note: note.id)

    def make(self, body: str) -> Note:
        """A new note."""
        answer = self._client.ask("POST", self._notes, data={"body": body}, is_repeatable=False)
        return self._note(answer.data)

    def change(self, note: Note, body: str) -> Note:
        """Another text for a note."""
        answer = self._client.ask("PUT", f"{self._notes}/{note.id}", data={"body": body})
        return self._note(answer.data)

    def remove(self, note: Note) -> None:
        """Take a note away; one that is gone is no fault."""
        try:
            self._client.ask("DELETE", f"{self._notes}/{note.id}")
        except Refused as exc:
            if exc.status != 404:
                raise

    def pictures(self, files: Mapping[str, Path], known: Mapping[str, str]) -> dict[str, str]:
        """Addresses by SHA-256. Those `known` (from our note) are not sent again."""
        addresses = {}
        for digest, file in files.items():
            at = known.get(digest, "")
            addresses[digest] = at if _UPLOAD.fullmatch(at) else self._sent(file)
        return addresses

    def _sent(self, file: Path) -> str:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", file.name)[-80:]
        answer = self._client.ask(
            "POST", f"{self._project}/uploads", file=(name, file.read_bytes())
        )
        at = str(answer.data.get("url", ""))
        if not _UPLOAD.fullmatch(at):
            raise Refused(f"{self._place.api}: an upload has the address {at[:200]!r}", 201)
        return at

    def _note(self, entry: Mapping[str, Any]) -> Note:
        at = f"{self._place.web}/-/merge_requests/{self._place.number}#note_{entry['id']}"
        return Note(int(entry["id"]), str(entry["body"]), at)
