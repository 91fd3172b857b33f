"""The states of a job and the moves between them; there is no other list of them."""

from typing import Literal

from teststrip.errors import TeststripError

State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]
MOVES: dict[State, frozenset[State]] = {
    # queued again: given up by a worker (retry, drain, kill), or by an operator from dead letters
    "queued": frozenset({"running", "done", "failed", "cancelled"}),
    "running": frozenset({"queued", "running", "done", "failed", "cancelled"}),
    "done": frozenset({"expired"}),
    "failed": frozenset({"queued", "expired"}),
    "cancelled": frozenset({"expired"}),
    "expired": frozenset(),
}
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled", "expired"})
OPEN: frozenset[State] = frozenset({"queued", "running"})


class IllegalMove(TeststripError, ValueError):  # noqa: N818 - it says what was asked
    """A job was to go from one state to another that does not follow."""


def check_move(before: State, after: State) -> None:
    """Raises IllegalMove where `after` does not follow `before`."""
    if after not in MOVES[before]:
        allowed = ", ".join(sorted(MOVES[before])) or "nothing: it is an end"
        raise IllegalMove(f"a {before} job cannot become {after}; from there: {allowed}")
