"""Select: a run's checkpoint by the rule, its scale by a study, the reason written down."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StudyError, TeststripError
from teststrip.files import write_atomic
from teststrip.wire.bench import Bench
from teststrip.wire.confirming import Findings, confirm, to_json

if TYPE_CHECKING:
    import pandas as pd

    from teststrip.recipe import Lora
    from teststrip.study.result import Event
    from teststrip.train.config import TrainConfig
    from teststrip.train.folder import RunFolder
    from teststrip.train.select.copies import Copies
    from teststrip.train.select.measured import Measured
    from teststrip.train.select.rule import Choice, Options
    from teststrip.train.select.sweep import Sweep

SELECT, STUDY = "select.json", "select.yaml"
ALIAS = "challenger"
MOST_NAMED = 4
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """What was selected, and on what grounds.

    `step`, `scale`: the adapter; `findings`: of the study `checkpoint x scale`, None where there
    was none, and `note` says why. `version`: where it was registered, empty where it was not.
    """

    choice: "Choice" = field(repr=False)
    step: int | None
    scale: float
    why: str
    findings: Findings | None = field(default=None, repr=False)
    note: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """The run's."""
        return self.choice.run.name

    @property
    def confirmed(self) -> bool:
        """Was it found better than the base model on prompts that nothing before had seen?"""
        return self.step is not None and self.findings is not None

    def __str__(self) -> str:
        from teststrip.train.select.words import lines

        out = [f"{self.name}: {self.why}"]
        out += [f"  {line}" for line in lines(self.choice)]
        if self.findings is not None:
            out.append(f"  study {self.findings.facts.name}: {self.findings.headline}")
            out += [f"    {line}" for line in self.findings.lines]
        if self.note:
            out.append(f"  {self.note}")
        if self.step is not None:
            out.append(f"  weights  {self.choice.run.weights[self.step]}")
        if self.version:
            out.append(f"  registered  {self.version}")
        return "\n".join(out)

    def as_dict(self) -> dict[str, Any]:
        """For select.json and --json."""
        from teststrip.train.select.words import as_dict

        study = None
        if self.findings is not None:
            study = {"name": self.findings.facts.name} | self.findings.as_dict()
        return as_dict(self.choice) | {
            "step": self.step,
            "scale": self.scale,
            "why": self.why,
            "refused": self.step is None,
            "confirmed": self.confirmed,
            "weights": str(self.choice.run.weights[self.step]) if self.step is not None else None,
            "study": study,
            "note": self.note,
            "registered": self.version or None,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


class Refused(StudyError):  # noqa: N818 - it is an answer, too
    """The evidence does not suffice; `selection` says why, and what would settle it."""

    def __init__(self, selection: Selection) -> None:
        super().__init__(str(selection))
        self.selection = selection


def select(  # noqa: PLR0917 - the verb's flags
    bench: Bench,
    name: str,
    options: "Options",
    sweep: "Sweep | None" = None,
    register: str | None = None,
    on_event: "Callable[[Event], None] | None" = None,
) -> Selection:
    """Select a run's checkpoint, and its scale where `sweep` is given.

    Writes select.json beside the run and `selected` into its run.json, also where it refuses; with
    `register` the adapter becomes a version of that name in MLflow, alias `challenger`.

    Raises Refused where the evidence does not suffice, StudyError where the run is being trained,
    ConfigError for wrong flags, what the study raises.
    """
    from teststrip.train.select import measured, rule
    from teststrip.train.select.sweep import check_sweep, hindrance, kept_back
    from teststrip.train.select.words import why

    if register is not None:
        _check_register(bench, register)
    if sweep is not None:
        check_sweep(sweep)
    folder = _folder(bench.home, name)
    config = _config(folder)
    run = measured.read(folder.path)
    run = replace(run, honest=_honest(run, config))
    note = "checkpoint x scale was not tried, as asked (--no-sweep)"
    if sweep is not None:
        note = hindrance(run, sweep)
        options = replace(options, keep_back=kept_back(run, sweep))
    choice = rule.choose(run, options)
    found = Selection(choice, choice.leader, 1.0, why(choice), note=note)
    if choice.leader is None:
        _write(folder, found)
        raise Refused(found)
    if sweep is not None and not note:
        found = _tried(bench, choice, sweep, config, on_event)
    if found.step is None:
        _write(folder, found)
        raise Refused(found)
    if register is not None:
        found = replace(found, version=_register(bench, register, found, folder))
    _write(folder, found)
    _record(bench, folder)
    return found


def _tried(
    bench: Bench,
    choice: "Choice",
    sweep: "Sweep",
    config: "TrainConfig",
    on_event: "Callable[[Event], None] | None",
) -> Selection:
    """The study, confirmed: its champion is the selection, without one there is none."""
    import yaml

    from teststrip.evidence import table
    from teststrip.study import Study
    from teststrip.train.select.rule import deciding_score
    from teststrip.train.select.sweep import step_of, study_of
    from teststrip.train.select.words import why

    plan = study_of(choice, sweep, config, deciding_score(choice.run, choice.options))
    source = choice.run.folder / STUDY
    write_atomic(source, yaml.safe_dump(plan.resolved(), sort_keys=False).encode())
    study = Study(plan, home=bench.home, tracker=bench.tracker, source=source.resolve())
    bench.run(study, on_event)
    found = confirm(bench, plan.name, top=1, on_event=on_event).findings
    champion = found.confirmed.champion if found.confirmed else None
    if champion is None:
        text = (
            f"No checkpoint of {choice.run.name} is chosen: step {choice.leader} led by its "
            "checkpoints' records, but pictures made afresh do not bear it out. "
        )
        return Selection(choice, None, 1.0, text + found.headline, found)
    images = table.load(found.study.folder.table, found.facts.objective)
    lora = _adapter(images, found, champion)
    step = step_of(choice, lora.path)
    copies = _copies(choice, step, images, found, champion)
    if copies is not None and copies.too_many:
        text = f"No checkpoint of {choice.run.name} is chosen: step {step} at scale "
        return Selection(choice, None, 1.0, f"{text}{lora.scale:g} won, but {copies}.", found)
    text = f"Step {step} at scale {lora.scale:g}. {found.headline}{_alike(found, champion)}"
    text += f" Before that: {why(choice)}"
    note = f"to make it the champion: teststrip study promote {plan.name} --model-name NAME"
    return Selection(choice, step, lora.scale, text, found, note)


def _adapter(images: "pd.DataFrame", found: Findings, recipe_id: str) -> "Lora":
    from teststrip.evidence.reproduce import recipe_of

    recipe = recipe_of(images[images["recipe_id"] == recipe_id].iloc[0])
    if recipe is None or not recipe.loras:
        raise StudyError(f"study {found.facts.name!r}: recipe {recipe_id} has no adapter")
    return recipe.loras[0]


def _copies(
    choice: "Choice", step: int, images: "pd.DataFrame", found: Findings, champion: str
) -> "Copies | None":
    """Does the winner copy training pictures at its scale? None where nearness is not known."""
    from teststrip.train.select.copies import copies_in

    column = next((name for name in images if str(name).startswith("nearest:")), None)
    if column is None:
        return None
    mine, base = (
        images[images["recipe_id"] == name][column] for name in (champion, found.facts.baseline)
    )
    return copies_in(choice.run, step, mine, base, choice.options.copy_limit)


def _alike(found: Findings, champion: str) -> str:
    """The others that the search could not tell from it; a winner among equals says so."""
    from teststrip.evidence.verdict import recipe_name

    ranking = found.ranking
    others = [i for i in ranking.best_set if i not in (champion, ranking.baseline)]
    if not others:
        return ""
    named = "; ".join(recipe_name(name, ranking) for name in others[:MOST_NAMED])
    more = len(others) - MOST_NAMED
    return f" The search could not tell from it: {named}" + (
        f" and {more} more." if more > 0 else "."
    )


def _folder(home: Path, name: str) -> "RunFolder":
    """The run's folder. Raises StudyError where there is none or it is being trained."""
    from teststrip.study.config import is_name
    from teststrip.train.folder import RunFolder

    if not is_name(name):
        raise StudyError(f"{name!r} is no name of a training run")
    folder = RunFolder.of(home, name)
    folder.read()
    if folder.holder() is not None:
        raise StudyError(f"run {name!r} is being trained; select when it has ended")
    return folder


def _config(folder: "RunFolder") -> "TrainConfig":
    from teststrip.config import parse
    from teststrip.train.config import TrainConfig

    return parse(TrainConfig, folder.read().get("config"), f"{folder.json}: config")


def _honest(run: "Measured", config: "TrainConfig") -> tuple[float, ...]:
    """How near the held-out pictures come to the training pictures; empty where unknown."""
    from teststrip.train.measure.nearest import clip_options
    from teststrip.train.select.copies import honest_nearness

    if run.nearest is None or run.held_out is None:
        return ()
    try:
        return honest_nearness(
            Path(config.data.source), run.folder / "manifest.json", clip_options(config)
        )
    except TeststripError as exc:  # pictures that were moved since must not forbid a selection
        log.warning("copies are not judged: %s", exc)
        return ()


def _check_register(bench: Bench, name: str) -> None:
    import re

    from teststrip.wire.champion import MODEL_NAME

    if not re.fullmatch(MODEL_NAME, name):
        raise ConfigError(
            f"--register {name!r}: letters, digits, '.', '_' and '-' are accepted, at most 128, "
            "a letter or digit first"
        )
    if not bench.track:
        raise ConfigError("--register writes to MLflow; it cannot go with --no-track")


def _register(bench: Bench, name: str, found: Selection, folder: "RunFolder") -> str:
    """The adapter in the model registry; returns its address."""
    from teststrip.track.adapters import (
        register_adapter,
    )
    from teststrip.track.connection import Connection

    if found.step is None:
        raise StudyError("nothing was selected")
    run = found.choice.run
    meta: Mapping[str, Any] = dict(run.meta[found.step]) | {
        "scale": found.scale,
        "run": run.name,
        "selected": found.why,
        "confirmed": found.confirmed,
    }
    version = register_adapter(
        Connection(bench.home), name, _run_id(bench, folder), run.weights[found.step], meta, ALIAS
    )
    return f"models:/{name}@{ALIAS} (version {getattr(version, 'number', version)})"


def _run_id(bench: Bench, folder: "RunFolder") -> str:
    """The training's MLflow run, opened where the training was not tracked."""
    from teststrip.track.connection import Connection
    from teststrip.track.training import TrainingTracker, find_training

    found = find_training(Connection(bench.home), folder.name)
    if found is not None:
        return str(found.info.run_id)
    tracker = TrainingTracker(bench.home)
    record = folder.read()
    tracker.start(folder.name, record["config"], {})
    tracker.finish(str(record["state"]))
    return tracker.run_id


def _write(folder: "RunFolder", found: Selection) -> None:
    """select.json and run.json's `selected`, which is taken out where nothing is selected."""
    write_atomic(folder.path / SELECT, to_json(found.as_dict()))
    chosen = {"step": found.step, "scale": found.scale, "why": found.why}
    folder.write(selected=chosen if found.step is not None else None)


def _record(bench: Bench, folder: "RunFolder") -> None:
    """The decision beside the training's record in MLflow, where it has one."""
    if not bench.track:
        return
    from teststrip.track.connection import Connection
    from teststrip.track.training import find_training

    connection = Connection(bench.home)
    found = find_training(connection, folder.name)
    if found is not None:
        with connection.border("record the selection"):
            for file in (SELECT, "run.json"):
                connection.client.log_artifact(found.info.run_id, str(folder.path / file))
