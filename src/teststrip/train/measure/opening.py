"""Measures for a run, with the parts that its config names."""

from pathlib import Path

from teststrip.plugins import GENERATORS, SCORERS, load
from teststrip.protocols import Generator, Scorer
from teststrip.train.config import TrainConfig
from teststrip.train.measure.measures import Measures


def open_measures(
    config: TrainConfig,
    folder: Path,
    home: Path,
    *,
    generator: Generator | None = None,
    track: bool = True,
    parent: str | None = None,
    device: str = "auto",
) -> Measures:
    """Measures of the run in `folder`, with its scorers, tracked in the store of `home`.

    `generator` None: a local engine on `device` if there are validation prompts; `close` of the
    measures closes that one, never a generator that was given. `parent`: MLflow run of the search
    whose trial it is, or what `TuneRecord.start` gave in its place. Raises
    ConfigError, PluginError, MissingExtra, ModelError.
    """
    scorers: list[Scorer] = []
    own: Generator | None = None
    if generator is None and config.validation.prompts:
        own = load("local", GENERATORS, "generator")(device=device)
    if config.validation.prompts:
        scorers = [load(s.name, SCORERS, "scorer")(**s.options) for s in config.validation.scorers]
    tracker = None
    if track:
        from teststrip.track.training import TrainingTracker
        from teststrip.train.tune.record import parent_run

        tracker = TrainingTracker(home, parent=parent_run(home, parent))
    measures = Measures(config, folder, generator or own, scorers, tracker, parent=parent or "")
    measures.owned = own
    return measures
