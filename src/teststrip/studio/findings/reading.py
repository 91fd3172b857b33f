"""The analysis of a study, read in the background: a page never waits long for it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from fastapi import Request

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

AT_ONCE, MOST_KEPT = 2, 4


class Reader:
    """One analysis of a study at a time, at most two studies at once.

    `analysis` is asked every time (it keeps what it worked out itself); what templates are shown of
    an analysis is gathered once and kept for the last four.
    """

    def __init__(self, analysis: "Callable[[str], Analysis]") -> None:
        self._analysis = analysis
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="evidence")
        self._lock = threading.Lock()
        self._running: dict[str, Future[Any]] = {}
        self._shown: dict[str, tuple[Analysis, dict[str, Any]]] = {}

    def read(self, name: str, wait_s: float) -> "tuple[Analysis, dict[str, Any]] | None":
        """The analysis with what templates show of it; None where it takes longer than `wait_s`.

        Raises what the analysis raises (StudyError: no result yet).
        """
        with self._lock:
            if name not in self._running:
                self._running[name] = self._pool.submit(self._work, name)
            future = self._running[name]
        done, _ = wait([future], timeout=wait_s)
        if not done:
            return None
        with self._lock:
            if self._running.get(name) is future:
                del self._running[name]
        found: tuple[Analysis, dict[str, Any]] = future.result()
        return found

    def _work(self, name: str) -> "tuple[Analysis, dict[str, Any]]":
        from teststrip.evidence.shown import shown

        analysis = self._analysis(name)
        kept = self._shown.get(name)
        if kept is not None and kept[0] is analysis:
            return kept
        made = (analysis, shown(analysis))
        self._shown.pop(name, None)
        self._shown[name] = made
        for other in list(self._shown)[:-MOST_KEPT]:
            self._shown.pop(other, None)
        return made


_FIRST = threading.Lock()


def reader(request: Request) -> Reader:
    """The app's one reader; for `Depends`."""
    state = request.app.state
    with _FIRST:
        if not hasattr(state, "evidence_reader"):
            state.evidence_reader = Reader(state.parts.analysis)
    found: Reader = state.evidence_reader
    return found
