"""Scoring beside the generator: one thread, whole batches, and a fault is never a number."""

import math
import queue
import threading
from collections.abc import Mapping, Sequence

from teststrip.errors import StudyError, TeststripError
from teststrip.protocols import Scorer
from teststrip.records import Generation
from teststrip.study.ledger import Ledger

BATCH = 16
WAITING = 4 * BATCH


class ScoringLane:
    """Takes finished images and writes their scores to the ledger.

    `put` waits when the scorers are more than `WAITING` images behind. A scorer that breaks on a
    batch is asked image by image; the images that break it get NaN and the reason. An error that
    concerns every image (a missing package, a full disk) is raised by the next `put` or `join`.
    """

    def __init__(self, scorers: Sequence[Scorer], ledger: Ledger) -> None:
        self.columns = all_columns(scorers)
        self._scorers = scorers
        self._ledger = ledger
        self._waiting: queue.Queue[Generation | None] = queue.Queue(maxsize=WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    def put(self, generation: Generation) -> None:
        """Hand an image over."""
        self._raise()
        self._waiting.put(generation)

    def join(self) -> None:
        """Wait until every image handed over is judged."""
        self._waiting.join()
        self._raise()

    def close(self) -> None:
        """Finish what was handed over and end the thread."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            ended = None in batch
            images = [g for g in batch if g is not None]
            try:
                if images and self._error is None:
                    self._judge(images)
            except BaseException as exc:
                self._error = exc
            finally:
                for _ in batch:
                    self._waiting.task_done()

    def _judge(self, images: Sequence[Generation]) -> None:
        scores: list[dict[str, float]] = [{} for _ in images]
        reasons: list[list[str]] = [[] for _ in images]
        for scorer in self._scorers:
            for i, (values, reason) in enumerate(ask(scorer, images)):
                scores[i] |= values
                reasons[i] += [reason] if reason else []
        for image, values, why in zip(images, scores, reasons, strict=True):
            self._ledger.judge(image.image_key, values, "; ".join(why))


def all_columns(scorers: Sequence[Scorer]) -> dict[str, bool]:
    """Column -> is higher better, of all scorers. Raises StudyError if two share a column."""
    columns: dict[str, bool] = {}
    for scorer in scorers:
        twice = set(columns) & set(scorer.columns)
        if twice:
            raise StudyError(f"two scorers both give {', '.join(sorted(twice))}; remove one")
        columns |= scorer.columns
    return columns


def ask(scorer: Scorer, images: Sequence[Generation]) -> list[tuple[dict[str, float], str]]:
    """Scores of each image and why one is missing (else empty); a broken scorer gives NaN."""
    try:
        return _checked(scorer, images, scorer.score(images))
    except Exception as exc:
        if isinstance(exc, TeststripError):
            raise
        if len(images) > 1:
            return [ask(scorer, [image])[0] for image in images]
        nan = dict.fromkeys(scorer.columns, math.nan)
        return [(nan, f"{type(scorer).__name__}: {type(exc).__name__}: {exc}")]


def _checked(
    scorer: Scorer, images: Sequence[Generation], answers: Sequence[Mapping[str, float]]
) -> list[tuple[dict[str, float], str]]:
    name = type(scorer).__name__
    if len(answers) != len(images) or any(set(a) != set(scorer.columns) for a in answers):
        raise StudyError(
            f"scorer {name} broke its contract: {len(images)} images gave {len(answers)} answers "
            f"with columns {sorted({c for a in answers for c in a})}, "
            f"promised {sorted(scorer.columns)}"
        )
    out = []
    for answer in answers:
        values = {c: float(v) if math.isfinite(float(v)) else math.nan for c, v in answer.items()}
        bad = [column for column, value in values.items() if math.isnan(value)]
        out.append((values, f"{name}: no score in {', '.join(bad)}" if bad else ""))
    return out
