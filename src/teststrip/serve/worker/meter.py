"""How fast the engine is while it is busy."""

import threading

WINDOW_S = 20.0


class Meter:
    """Model calls (one image, one step) a second of busy time, the last 20 s counting most."""

    def __init__(self) -> None:
        self._calls = 0.0
        self._busy_s = 0.0
        self._lock = threading.Lock()

    def add(self, calls: int, seconds: float) -> None:
        """One step: so many pictures moved, in this time."""
        with self._lock:
            keep = max(0.0, 1 - seconds / WINDOW_S)
            self._calls = self._calls * keep + calls
            self._busy_s = self._busy_s * keep + seconds

    @property
    def calls_per_s(self) -> float:
        """0 while nothing was measured."""
        with self._lock:
            return self._calls / self._busy_s if self._busy_s > 0 else 0.0
