"""What the page's buttons do: hand out pairs, store votes and marks, take a vote back."""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

from teststrip.errors import ConfigError
from teststrip.studio.index.scan import RECORD, REMOTE
from teststrip.studio.parts import Parts
from teststrip.studio.rate.choosing import Pair, next_pair
from teststrip.studio.rate.courier import Courier
from teststrip.studio.rate.history import sight_of
from teststrip.studio.rate.shelf import Shelf, Shelves
from teststrip.study.marks import KINDS, append_mark
from teststrip.study.votes import SKIP, append_votes, events, undo_vote

CHOICES = ("left", "right", "tie", SKIP)
MOST_RECIPES = 100  # among which pairs are chosen
AMONG = (8, 16, 32, 64)
USUAL = 16
MOST_AHEAD, MOST_HELD = 6, 50
_ID = re.compile(r"[0-9a-f]{16,64}")


class Desk:
    """One for each app. Every method may be called from any thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._shelves = Shelves()
        self._random = SystemRandom()
        self.courier = Courier(parts.home)

    def shelf(self, study: str) -> Shelf:
        """The study's images. Raises StudyError where there is no such study."""
        return self._shelves.shelf(self._parts.index, study)

    def folder(self, study: str) -> Path:
        """Where the votes of a study of the index are kept."""
        self._parts.index.entry(study)
        own = self._parts.home / "studies" / study
        return own if (own / RECORD).exists() else self._parts.home / REMOTE / study

    def pairs(
        self, study: str, rater: str, held: Sequence[Sequence[str]], ahead: int, among: int
    ) -> list[dict[str, str]]:
        """Up to `ahead` new pairs. `held`: (left, right) image keys that wait in the browser."""
        shelf = self.shelf(study)
        rows = events(self.folder(study))
        sight = sight_of(rows, rater)
        waiting = [p for p in (_held(shelf, *keys) for keys in held[:MOST_HELD]) if p is not None]
        shown_on = shelf.shown_on(min(among, MOST_RECIPES) or MOST_RECIPES)
        found = []
        for _ in range(max(0, min(ahead, MOST_AHEAD))):
            pair = next_pair(shown_on, sight, waiting, self._random)
            if pair is None:
                break
            waiting.append(pair)
            found.append(_as_shown(shelf, pair))
        return found

    def vote(self, study: str, rater: str, given: Mapping[str, str]) -> bool:
        """Store a vote or a skip; False if it was there. `given`: id, left, right, choice.

        Sides are image keys, as `pairs` handed them out. Raises ConfigError for what is no pair.
        """
        shelf, choice = self.shelf(study), given["choice"]
        block = shelf.block_of(given["left"], given["right"])
        if block is None:
            raise ConfigError("these two images are no pair of this study; load the page again")
        if choice not in CHOICES:
            raise ConfigError(f"choice {choice[:20]!r}: {', '.join(CHOICES)} are accepted")
        row = {
            "id": _checked(given["id"]),
            "prompt_id": block[0],
            "seed": block[1],
            "left": shelf.images[given["left"]]["recipe_id"],
            "right": shelf.images[given["right"]]["recipe_id"],
            "choice": choice,
            "rater": rater,
            "left_image": given["left"],
            "right_image": given["right"],
            "at": _now(),
        }
        added = append_votes(self.folder(study), [row])
        self.courier.post(self.folder(study))
        return bool(added)

    def undo(self, study: str, rater: str, vote_id: str) -> dict[str, str] | None:
        """Take back a rater's own vote; its pair to be shown again, None if it was taken back."""
        folder, shelf = self.folder(study), self.shelf(study)
        row = undo_vote(folder, vote_id, rater, _now())
        self.courier.post(folder)
        if row is None:
            return None
        keys = str(row.get("left_image", "")), str(row.get("right_image", ""))
        pair = _held(shelf, *keys)
        return None if pair is None else _as_shown(shelf, pair)

    def mark(self, study: str, rater: str, mark_id: str, image: str, mark: str) -> bool:
        """Star or reject an image, or take that off; False if this request came before."""
        if image not in self.shelf(study).images:
            raise ConfigError("there is no such image in this study; load the page again")
        if mark not in KINDS:
            raise ConfigError(f"mark {mark[:20]!r}: star, reject or nothing is accepted")
        row = {"id": _checked(mark_id), "image_key": image, "mark": mark, "rater": rater}
        added = append_mark(self.folder(study), row | {"at": _now()})
        self.courier.post(self.folder(study))
        return added


def _checked(name: str) -> str:
    if not _ID.fullmatch(name):
        raise ConfigError("the vote has no id of ours; load the page again")
    return name


def _held(shelf: Shelf, left: str = "", right: str = "", *_: str) -> Pair | None:
    block = shelf.block_of(left, right)
    if block is None:
        return None
    return Pair(block, shelf.images[left]["recipe_id"], shelf.images[right]["recipe_id"])


def _as_shown(shelf: Shelf, pair: Pair) -> dict[str, str]:
    """For the browser: nothing in it tells a setting."""
    left, right = (shelf.image(name, pair.block) for name in (pair.left, pair.right))
    return {
        "id": secrets.token_hex(12),
        "left": left,
        "right": right,
        "prompt": str(shelf.images[left]["prompt"]),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
