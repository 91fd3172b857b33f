"""Which checkpoint was chosen and why, or why none was: select.json of `teststrip train select`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Decision:
    """`why` in one sentence, `notes` what it rests on, line by line. `step` None: it was refused.

    `answer`: steps that cannot be told from the best one, by the rule's intervals.
    """

    step: int | None
    why: str
    notes: tuple[str, ...]
    answer: tuple[int, ...]


def decision(folder: Path) -> Decision | None:
    """The last decision about a run; None where there is none that can be read."""
    try:
        found: Mapping[str, Any] = json.loads((folder / "select.json").read_bytes())
        step = found.get("step")
        return Decision(
            step=None if step is None else int(step),
            why=str(found["why"]),
            notes=tuple(str(note) for note in found.get("notes") or ()),
            answer=tuple(int(s) for s in found.get("answer") or ()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
