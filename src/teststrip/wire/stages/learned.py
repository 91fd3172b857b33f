"""What a project has learned, as `infer` reads it: adapter/adapter.json or study/recipe.json.

Both files hold `recipe` (what is drawn), `seen` (ids of prompts that took part in the choice),
`confirmed`, and the words for people; a study's also `reference`, the recipe to beat.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.project.layout import ADAPTER, STUDY
from teststrip.project.params import Infer
from teststrip.project.project import Project
from teststrip.recipe import Recipe

FORMAT = 1
ADAPTER_FILE, RECIPE_FILE = f"{ADAPTER}/adapter.json", f"{STUDY}/recipe.json"
WEIGHTS = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Learned:
    """`made` is drawn beside `reference`. `seen`: prompt id -> how it took part in the choice.

    `name`: what it is, for people. `proven`: it was found better on prompts that nothing had seen.
    """

    made: Recipe
    reference: Recipe
    name: str
    proven: bool
    seen: Mapping[str, str]
    varied: tuple[str, ...] = ()

    def drawn_by(self, infer: Infer) -> "Learned":
        """With the settings of `infer` in both recipes. Raises ConfigError with every fault.

        A setting that the study searched is its answer: it cannot be asked for beside it.
        """
        asked = {"guidance": infer.guidance, "steps": infer.steps, "scheduler": infer.scheduler}
        changes = {name: value for name, value in asked.items() if value is not None}
        faults = [
            f"infer.{name}: the study searched it and {getattr(self.made, name)!r} is its answer; "
            "remove it here, or from study.space"
            for name in changes
            if name in self.varied
        ]
        if faults:
            raise ConfigError("params.yaml: infer and study contradict each other", faults)
        if not changes:
            return self
        made, reference = (_changed(recipe, changes) for recipe in (self.made, self.reference))
        return Learned(made, reference, self.name, self.proven, self.seen, self.varied)


def read(project: Project) -> Learned:
    """What this project has learned. Raises ConfigError where the file is not there or damaged."""
    is_study = project.params.kind == "study"
    name = RECIPE_FILE if is_study else ADAPTER_FILE
    data = _read(project, name)
    try:
        made = parse(Recipe, data["recipe"], name)
        if is_study:
            reference = parse(Recipe, data["reference"], name)
            label = "the study's champion" if data["confirmed"] else "the study's baseline"
        else:
            reference = made.changed(loras=())
            label = f"step {data['step']} at scale {data['scale']:g}"
        return Learned(
            made=made,
            reference=reference,
            name=label,
            proven=bool(data["confirmed"]),
            seen={str(key): str(how) for key, how in data["seen"].items()},
            varied=tuple(data.get("varied", ())),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        if isinstance(exc, ConfigError):
            raise
        raise ConfigError(f"{name}: damaged ({exc!r}); run the stage that makes it") from exc


def as_bytes(data: Mapping[str, Any]) -> bytes:
    """One of the two files: sorted keys, the same bytes for the same content."""
    whole = dict(data) | {"format": FORMAT}
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def _read(project: Project, name: str) -> Any:
    maker = "study" if name == RECIPE_FILE else "select"
    try:
        data = json.loads(project.path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{name}: not there; stage {maker} makes it: teststrip project run {maker}, or dvc "
            "pull where it was made elsewhere"
        ) from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{name}: cannot be read: {exc}; run stage {maker} again") from exc
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(f"{name}: not of format {FORMAT}; run stage {maker} again")
    return data


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A setting that a changed scheduler or guidance has no use for gives way."""
    from teststrip.train.measure.validation import idle_fields

    fields = recipe.model_dump(mode="json", exclude_defaults=True) | dict(changes)
    for name in idle_fields(fields):
        fields.pop(name, None)
    return parse(Recipe, fields, "params.yaml: infer")
