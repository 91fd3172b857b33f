"""A thread that keeps the index up to date while studies run."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Follower:
    """Calls `refresh` every `interval_s` seconds; tells `on_change` the names it returned."""

    def __init__(
        self,
        refresh: Callable[[], list[str]],
        interval_s: float,
        on_change: Callable[[list[str]], None] | None = None,
    ) -> None:
        self._refresh, self._interval_s, self._on_change = refresh, interval_s, on_change
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teststrip-index", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Does the thread live?"""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends the thread, after the refresh it is at; harmless twice."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        said = ""
        while not self._stopped.wait(self._interval_s):
            try:
                changed = self._refresh()
                if changed and self._on_change is not None:
                    self._on_change(changed)
                said = ""
            except Exception as exc:  # one bad look must not end the following
                if str(exc) != said:  # a full disk is told once, not every two seconds
                    log.exception("the index could not be refreshed; it is tried again")
                said = str(exc)
