"""The back end without a cluster: one trial after another, in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.job import take
from teststrip.train.tune.scene import Scene, Turns, judge


@contextmanager
def opened(config: TuneConfig) -> Iterator[Callable[[Scene, Turns], None]]:
    """`run`; nothing is to be opened or closed."""
    yield run


def run(scene: Scene, turns: Turns) -> None:
    """Run all turns; returns early where somebody asks to stop. Raises StorageError."""
    while not scene.is_asked_to_stop() and (job := turns.next()) is not None:
        outcome = take(
            job,
            scene.config,
            scene.folder,
            scene.objective,
            goes_on=judge(scene, turns, job),
            is_asked_to_stop=scene.is_asked_to_stop,
        )
        if outcome is None:
            return
        turns.tell(outcome)
        scene.on_outcome(outcome)
