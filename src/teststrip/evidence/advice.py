"""What to do next, in order, with the command that does it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """One step. `what`: a sentence; `why`: its number; `command`: to copy, or empty."""

    what: str
    why: str
    command: str
