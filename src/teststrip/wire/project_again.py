"""A stage run again in a process of its own: `verify` gives it threads and an empty home.

    python -P -m teststrip.wire.project_again STAGE

It works in the current folder and speaks JSON, a line for each thing: {"progress": [what, done,
total]}, at the end {"error": ...} or {"done": true}.
"""

import json
import sys
import time
from typing import Any

from teststrip import logs
from teststrip.errors import TeststripError

MARK = "\x1e"  # before our lines: whatever else libraries print is no message
EVERY_S = 0.2


def main(stage: str) -> int:
    """Exit code: 0 done, 1 not."""
    from pathlib import Path

    from teststrip.wire.project_run import run_stages

    logs.configure()
    try:
        run_stages(Path(), [stage], track=False, progress=_Progress())
    except TeststripError as exc:
        _say({"error": str(exc)})
        return 1
    except KeyboardInterrupt:
        _say({"error": "stopped"})
        return 1
    _say({"done": True})
    return 0


class _Progress:
    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() >= self._next or done == total:
            self._next = time.monotonic() + EVERY_S
            _say({"progress": [what, done, total]})


def _say(message: dict[str, Any]) -> None:
    print(f"{MARK}{json.dumps(message)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
