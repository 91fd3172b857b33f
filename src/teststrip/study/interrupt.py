"""Ctrl-C, SIGTERM and a stop file ask a study to stop at the next image.

A second Ctrl-C stops it at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class StopSwitch:
    """Was a stop asked for? `asked` says by whom; `file` holds the name of who asks by file."""

    def __init__(self, file: Path) -> None:
        self.asked = ""
        self._file = file

    def __call__(self) -> bool:
        """True after the first signal, or once the file is there."""
        if not self.asked and self._file.exists():
            self.asked = "a stop file"
            with suppress(OSError):
                self.asked = self._file.read_text(errors="replace").strip()[:80] or self.asked
        return bool(self.asked)


@contextmanager
def stop_switch(file: Path) -> Iterator[StopSwitch]:
    """Turn signals into a switch for as long as it is open; outside the main thread only `file`."""
    switch = StopSwitch(file)
    if threading.current_thread() is not threading.main_thread():
        yield switch
        return
    before: dict[int, Any] = {}

    def ask(number: int, frame: object) -> None:
        switch.asked = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        signal.signal(signal.SIGINT, before[signal.SIGINT] or signal.default_int_handler)

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, ask)
    try:
        yield switch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
