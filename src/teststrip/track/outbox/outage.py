"""An outage: when to try again, and what is said of it: one line when it begins and one at its end.

Pauses grow from one second to a minute. A server that hangs is asked with a time limit of five
seconds before anything is sent, and then left alone ten times as long as that took.
"""

import logging
import time
from pathlib import Path

from teststrip.track.connection import Connection

log = logging.getLogger(__name__)
FIRST_S, LONGEST_S = 1.0, 60.0
REST = 10  # pauses are this many times as long as asking took


class Outage:
    """Of one store, as one study, training or search sees it. `what`: "study 'owls'"."""

    def __init__(self, what: str, uri: str, where: Path) -> None:
        self.is_on = False
        self.reason = ""
        self._what, self._uri, self._where = what, uri, where
        self._pause, self._next = 0.0, 0.0

    def is_due(self) -> bool:
        """Is it time to try again?"""
        return time.monotonic() >= self._next

    def begins(self, reason: object) -> None:
        """A call failed; said once. The first try may follow at once."""
        self.reason = _short(reason)
        if not self.is_on:
            self.is_on = True
            self._pause, self._next = 0.0, 0.0
            log.warning(
                "%s goes on without its record for now: %s. What is to be recorded waits in %s and "
                "is delivered when the server is back",
                self._what,
                self.reason,
                self._where,
            )

    def answers(self, connection: Connection) -> bool:
        """Ask the store whether it is back."""
        began = time.monotonic()
        if connection.answers():
            return True
        self.lasts("it does not answer", time.monotonic() - began)
        return False

    def lasts(self, reason: object = "", took_s: float = 0.0) -> None:
        """A try failed, after so long: the next pause is longer."""
        self.reason = _short(reason) or self.reason
        self._pause = min(LONGEST_S, self._pause * 2 or FIRST_S)
        self._next = time.monotonic() + max(self._pause, min(LONGEST_S, REST * took_s))

    def ends(self, count: int) -> None:
        """All was delivered: `count` records; said once."""
        if self.is_on:
            log.warning(
                "MLflow at %s is back: %d record%s of %s delivered",
                self._uri,
                count,
                "" if count == 1 else "s",
                self._what,
            )
        self.is_on, self.reason = False, ""
        self._pause, self._next = 0.0, 0.0


def _short(reason: object) -> str:
    """The first sentence; what might be mended follows it, for those who start something."""
    return str(reason).partition(". is the server up")[0]
