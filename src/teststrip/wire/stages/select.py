"""Select: the checkpoint that goes on, by the rule of `train select`, and its adapter in adapter/.

Where the evidence does not suffice the rule refuses. Then `select.when_refused` says whether the
pipeline stops, or goes on with the newest checkpoint, which is named unproven everywhere.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StudyError
from teststrip.files import storage_error, write_atomic
from teststrip.project.layout import ADAPTER
from teststrip.project.metrics import numbers, write_metrics
from teststrip.project.project import Project
from teststrip.recipe import Block, Recipe
from teststrip.wire.bench import Bench
from teststrip.wire.stages import Here, Made, references
from teststrip.wire.stages.canonical import inside, restored
from teststrip.wire.stages.kept_studies import forget_older
from teststrip.wire.stages.learned import WEIGHTS, as_bytes
from teststrip.wire.stages.search import resumable, watched

if TYPE_CHECKING:
    from teststrip.train.config import TrainConfig
    from teststrip.wire.selecting import Selection

METRICS = "metrics/select.json"
VALIDATED = "checkpoints were chosen by pictures of it (train.settings.validation.prompts)"
TRAINED = "it is train.instance_prompt, which was trained"


@dataclass(frozen=True)
class Chosen:
    """One checkpoint of the run, and the selection that chose or refused it."""

    selection: "Selection"
    step: int
    scale: float

    @property
    def refused(self) -> bool:
        """Nothing was selected; the step is the newest one."""
        return self.selection.step is None

    @property
    def weights(self) -> Path:
        """The adapter's file."""
        return self.selection.choice.run.weights[self.step]

    @property
    def text(self) -> str:
        """What the selection says, without the run's name, which hangs on the code."""
        return self.selection.why.replace(self.selection.name, "this run")

    @property
    def why(self) -> str:
        """In words; says so where it is unproven."""
        if not self.refused:
            return self.text
        return f"UNPROVEN: the newest checkpoint, step {self.step}. {self.text}"


def run(project: Project, here: Here) -> Made:
    """Choose, and write the adapter, why it is that one, and the numbers.

    Raises StudyError where the rule refuses and `when_refused` is stop, ConfigError where model/
    is not there or damaged.
    """
    from teststrip.engine.device import same_threads

    with inside(project) as within:
        same_threads()
        return _run(within, here)


def _run(project: Project, here: Here) -> Made:
    from teststrip.engine.device import find
    from teststrip.train.config import TrainConfig
    from teststrip.train.measure.validation import base_recipe

    folder = restored(project)
    config = TrainConfig.model_validate(folder.read()["config"])
    found = _chosen(project, here, folder.name)
    if found.refused and project.params.select.when_refused == "stop":
        raise StudyError(
            f"{found.text}\nThe pipeline stops here, as select.when_refused: stop asks; "
            "`newest` would go on with the newest checkpoint, named unproven"
        )
    base = dict(found.selection.choice.run.meta[found.step]["base"])
    recipe = base_recipe(config).changed(
        loras=[{"path": f"{ADAPTER}/{WEIGHTS}", "scale": found.scale}]
    )
    told = _told(found, config, recipe) | {"base": base, "kind": project.params.kind}
    with project.replacing(ADAPTER) as place:
        try:
            shutil.copyfile(found.weights, place / WEIGHTS)
            references.keep(project, folder, place)
        except OSError as exc:
            raise storage_error(place, exc) from exc
        write_atomic(place / "adapter.json", as_bytes(told))
    write_metrics(project.path(METRICS), metrics(found))
    return Made(
        resolved={"step": found.step, "scale": found.scale, "run": folder.name},
        model={"name": base["model"]} | base,
        device=str(find(here.device)),
        said=found.why,
    )


def _chosen(project: Project, here: Here, name: str) -> Chosen:
    from teststrip.train.select.rule import Options
    from teststrip.train.select.sweep import Sweep
    from teststrip.wire.selecting import Refused, select

    params = project.params.select
    forget_older(project, f"{name[:45]}-select-")
    sweep = Sweep(scales=params.scales, checkpoints=params.top)
    bench = Bench(project.home, here.track)
    try:
        with resumable("select"):
            found = select(bench, name, Options(), sweep, None, watched(here, "checkpoint x scale"))
    except Refused as exc:
        found = exc.selection
    step = max(found.choice.run.weights) if found.step is None else found.step
    return Chosen(found, step, found.scale)


def metrics(found: Chosen) -> dict[str, Any]:
    """metrics/select.json. `gain`: over the base model, positive is better.

    Of the confirmation where there was one (held-out prompts, fresh seeds); else of what the rule
    looked at: the validation pictures' score, the held-out loss.
    """
    selection = found.selection
    gain: dict[str, Any] = {}
    study = selection.findings
    if study is not None and study.confirmed is not None and study.confirmed.rows:
        row = study.confirmed.row(study.confirmed.champion or "") or study.confirmed.rows[0]
        gain[study.facts.objective] = numbers(row.gain, row.images) | {"p": row.p_holm}
    else:
        for criterion in selection.choice.asked:
            ranked = criterion.row(found.step)
            if ranked is not None and criterion.has_base and ranked.gain.units:
                gain[criterion.name.replace(" ", "_").replace("-", "_")] = numbers(
                    ranked.gain, ranked.images
                ) | {"p": ranked.p_holm}
    return {
        "step": found.step,
        "scale": found.scale,
        "refused": int(found.refused),
        "confirmed": int(selection.confirmed),
        "checkpoints": len(selection.choice.run.weights),
        "gain": gain,
    }


def _told(found: Chosen, config: "TrainConfig", recipe: Recipe) -> dict[str, Any]:
    """adapter/adapter.json but for its base model; `infer` reads it by learned.py."""
    seen = {Block(prompt=text, seed=0).prompt_id: VALIDATED for text in config.validation.prompts}
    if config.subject is not None:
        name = Block(prompt=config.subject.instance_prompt, seed=0).prompt_id
        seen = {name: TRAINED} | seen
    return {
        "file": WEIGHTS,
        "sha256": str(found.selection.choice.run.meta[found.step]["sha256"]),
        "step": found.step,
        "scale": found.scale,
        "why": found.why,
        "note": "" if found.selection.confirmed else found.selection.note,
        "refused": found.refused,
        "confirmed": found.selection.confirmed,
        "trigger": config.trigger,
        "instance_prompt": config.subject.instance_prompt if config.subject else None,
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
        "seen": seen,
    }
