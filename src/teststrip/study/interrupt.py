"""Ctrl-C and SIGTERM ask a study to stop at the next image; a second Ctrl-C stops it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StopSwitch:
    """Was a stop asked for?"""

    def __init__(self) -> None:
        self.asked = ""

    def __call__(self) -> bool:
        """True after the first signal."""
        return bool(self.asked)


@contextmanager
def stop_switch() -> Iterator[StopSwitch]:
    """Turn signals into a switch for as long as it is open; only the main thread can."""
    switch = StopSwitch()
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
