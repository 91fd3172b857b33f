"""Study: a search over recipes and its confirmation; the winner is the project's recipe.

params.study holds what a study file holds, but for `name` and the prompts, which are those of
data/study-prompts.txt. The winner is the confirmed champion; without one, the baseline stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StudyError
from teststrip.files import write_atomic
from teststrip.project.layout import STUDY
from teststrip.project.metrics import DIGITS, numbers, write_metrics
from teststrip.project.project import Project
from teststrip.recipe import Block, Recipe, short_hash
from teststrip.wire.bench import COMMENT, REPORT, SHEET, SUMMARY, Bench
from teststrip.wire.stages import Here, Made
from teststrip.wire.stages.canonical import inside
from teststrip.wire.stages.kept_studies import forget_older
from teststrip.wire.stages.learned import as_bytes
from teststrip.wire.stages.search import resumable, watched

if TYPE_CHECKING:
    import pandas as pd

    from teststrip.study.config import StudyConfig
    from teststrip.wire.confirming import Findings

STUDY_PROMPTS, METRICS = "data/study-prompts.txt", "metrics/study.json"
HELD_OUT, LEAST_HELD, MOST_HELD = 1 / 4, 4, 1 / 2
SECONDS, CLOCK = "seconds", "hangs on a clock, so that the stage would not repeat itself"
HELD_OUT_SPLIT = "held_out"
LEFT_OUT = ("study", "png", "seconds", "started", "finished")  # a clock's or a folder's
SEARCHED, CONFIRMED = "the study searched on it", "the study's winner was confirmed on it"


@dataclass(frozen=True)
class Winner:
    """The recipe that the study ends with, and the baseline that it was held against."""

    recipe: Recipe
    baseline: Recipe
    confirmed: bool
    why: str

    def as_dict(self, config: "StudyConfig", found: "Findings") -> dict[str, Any]:
        """For study/recipe.json; `infer` reads it by learned.py."""
        search, held = config.prompts.split()
        return {
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "recipe_id": self.recipe.recipe_id,
            "reference": self.baseline.model_dump(mode="json", exclude_defaults=True),
            "which": "champion" if self.confirmed else "baseline",
            "confirmed": self.confirmed,
            "why": self.why,
            "objective": found.facts.objective,
            "higher_is_better": found.facts.higher_is_better,
            "varied": sorted(name for name in config.space if name not in config.dummies),
            "seen": {
                Block(prompt=prompt.text, seed=0).prompt_id: how
                for prompts, how in ((search, SEARCHED), (held, CONFIRMED))
                for prompt in prompts
            },
        }


def run(project: Project, here: Here) -> Made:
    """Search, confirm, and write the winner, the table, the report and the numbers.

    Raises ConfigError for faults of params.study, StudyError where nothing works.
    """
    from teststrip.engine.device import same_threads

    config = config_of(project)
    with inside(project) as within:
        same_threads()
        return _run(within, here, config)


def _run(project: Project, here: Here, config: "StudyConfig") -> Made:
    from teststrip.engine.device import find
    from teststrip.evidence import table

    forget_older(project, "study-")
    bench = Bench(project.home, here.track)
    found = _searched(bench, config, here)
    images = table.load(found.study.folder.table, found.facts.objective)
    fingerprints = found.study.folder.read().get("fingerprints") or {}
    winner = _winner(found, config, images)
    with project.replacing(STUDY) as folder:
        write_atomic(folder / "recipe.json", as_bytes(winner.as_dict(config, found)))
        write_atomic(folder / "images.csv", _csv(images))
        for name in (REPORT, COMMENT, SHEET, SUMMARY):
            write_atomic(folder / name, (bench.report_folder(config.name) / name).read_bytes())
    write_metrics(project.path(METRICS), _metrics(winner, found, images))
    return Made(
        resolved={"name": config.name, "study": config.resolved()},
        model={
            "name": winner.recipe.model,
            "revision": winner.recipe.revision,
            "fingerprints": sorted(map(str, fingerprints.values())),
        },
        device=str(find(here.device)),
        said=winner.why,
    )


def config_of(project: Project) -> "StudyConfig":
    """params.study with its prompts and a name from a hash of all of it.

    Raises ConfigError with every fault, named as in params.yaml.
    """
    from teststrip.study.config import check
    from teststrip.study.prompts import read_prompts

    keys = dict(project.params.study)
    prompts = keys.get("prompts", {})
    faults = []
    if keys.pop("name", None) is not None:
        faults.append("study.name: remove it; the name follows from the parameters")
    if not isinstance(prompts, Mapping) or {"file", "items"} & set(prompts):
        faults.append(
            f"study.prompts: the prompts are those of {STUDY_PROMPTS}, which DVC watches; only "
            "`template` and `held_out` are accepted here"
        )
        prompts = {}
    items = read_prompts(project.path(STUDY_PROMPTS))
    share = min(max(HELD_OUT, LEAST_HELD / max(len(items), 1)), MOST_HELD)
    keys["prompts"] = {"held_out": share} | dict(prompts) | {"items": items}
    try:
        config = check({"name": "study"} | keys, "study")
    except ConfigError as exc:
        raise _fault([*faults, *(f"study.{fault}" for fault in exc.faults)]) from exc
    if any(one.score == SECONDS for one in config.objectives):
        faults.append(f"study.objectives: {SECONDS} {CLOCK}; search `steps` instead")
    if config.budget.minutes is not None:
        faults.append(f"study.budget.minutes: where it ends {CLOCK}; give study.budget.images")
    if not config.prompts.held_out:
        faults.append("study.prompts.held_out: above 0, or the winner cannot be confirmed")
    if faults:
        raise _fault(faults)
    return config.model_copy(update={"name": f"study-{short_hash(config.resolved(), 8)}"})


def _fault(faults: list[str]) -> ConfigError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ConfigError(f"params.yaml: {count}", faults)


def _searched(bench: Bench, config: "StudyConfig", here: Here) -> "Findings":
    """The study at its end, confirmed where there is anything to confirm."""
    from teststrip.study import Study
    from teststrip.wire.confirming import confirm, findings

    study = Study(config, home=bench.home, tracker=bench.tracker)
    with resumable("study"):
        result = bench.run(study, watched(here, "search"))
        if result.best.recipe_id == result.baseline.recipe_id and result.recipes < 2:
            return findings(bench, config.name)
        return confirm(bench, config.name, on_event=watched(here, "confirmation")).findings


def _winner(found: "Findings", config: "StudyConfig", images: "pd.DataFrame") -> Winner:
    """The confirmed champion, or else the baseline."""
    from teststrip.evidence.reproduce import recipe_of

    baseline = config.baseline_recipe
    champion = found.confirmed.champion if found.confirmed else None
    if champion is None:
        return Winner(baseline, baseline, False, f"{found.headline} The baseline stays.")
    recipe = recipe_of(images[images["recipe_id"] == champion].iloc[0])
    if recipe is None:
        raise StudyError(f"study {found.facts.name!r}: its table does not hold recipe {champion}")
    return Winner(recipe, baseline, True, found.headline)


def _metrics(winner: Winner, found: "Findings", images: "pd.DataFrame") -> dict[str, Any]:
    """Both on the held-out prompts, which chose nothing; the leader's gain, supported or not."""
    out: dict[str, Any] = {"confirmed": int(winner.confirmed), "recipes": len(found.ranking.rows)}
    seen = found.confirmed
    if seen is None:
        return out | {"images": 0}
    column, sign = found.facts.objective, found.facts.sign
    out["images"] = seen.images
    for name, recipe in (("winner", winner.recipe), ("baseline", winner.baseline)):
        mean = seen.means.get(recipe.recipe_id)
        if mean is not None:
            mine = images[(images["recipe_id"] == recipe.recipe_id) & (images["status"] == "ok")]
            out[name] = {column: numbers(mean, int((mine["split"] == HELD_OUT_SPLIT).sum()))}
    row = seen.row(seen.champion or "") or next(iter(seen.rows), None)
    if row is not None:
        out["gain"] = {column: numbers(row.gain, row.images) | {"p": row.p_holm}}
    return out | {"higher_is_better": {column: int(sign > 0)}}


def _csv(images: "pd.DataFrame") -> bytes:
    """The table of pictures as text, in its own order, without what a clock or a folder gave it."""
    kept = [name for name in images if name not in LEFT_OUT]
    text = images[kept].to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
    return str(text).encode()
