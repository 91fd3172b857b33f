"""params.yaml -> the config of a training run: `auto` resolved, faults by their place there."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import teststrip
from teststrip.config import parse
from teststrip.engine import loading
from teststrip.engine.device import trains_in
from teststrip.errors import ConfigError
from teststrip.project import machine
from teststrip.project.layout import PARAMS, PREPARED
from teststrip.project.params import Params
from teststrip.project.project import Project
from teststrip.project.record import hash_files
from teststrip.recipe import short_hash
from teststrip.train.config import TrainConfig
from teststrip.wire.stages.base_model import NARROW_RATE, BaseModel

_KEYS = re.compile(r"(?<![\w./])(data|every|lora|loss|optimizer|rate|subject|validation)\.[a-z_]+")
SOMETHING = 64  # px: a size that is right, to look for other faults before a model is fetched
# Where a key of a training file stands in params.yaml; all others stand in train.settings.
PLACES = {
    "base.model": "train.model_name",
    "base.revision": "train.revision",
    "data.size": "train.image_size",
    "optimizer.lr": "train.learning_rate",
    "steps": "train.steps",
    "subject.instance_prompt": "train.instance_prompt",
    "subject.class_prompt": "train.class_prompt",
}
_OWN = {"name": "runs are named by what goes into them", "data.source": f"it is {PREPARED}"}
_CODE = ("engine", "score", "train", "noise.py", "recipe.py")  # what a run's numbers come from


@dataclass(frozen=True)
class Resolved:
    """`config` has no `auto` left; `values`: what they became, by their place in params.yaml."""

    config: TrainConfig
    values: Mapping[str, Any]


def check(params: Params) -> None:
    """Raise ConfigError with every fault of train and its settings; no model is looked at."""
    _config(params, SOMETHING, NARROW_RATE, "fp32", {})


def resolve(project: Project, device: str) -> Resolved:
    """The run that params.yaml asks for on `device`, named by all that goes into it.

    Call it inside the project (canonical.inside). Raises ConfigError with every fault, ModelError.
    """
    params = project.params
    check(params)
    given = params.train
    base = BaseModel.find(given.model_name, given.revision)
    size = image_size(params, base)
    recipe = {"width": size, "height": size} if size != base.size else {}
    config = _config(params, size, base.rate, trains_in(device), recipe)
    facts = {
        "config": config.model_dump(mode="json"),
        "pictures": hash_files(project.root, [PREPARED]),
        "base": loading.fingerprint(base.folder),
    }
    values = {
        "train.image_size": size,
        "train.learning_rate": config.optimizer.lr,
        "train.settings.precision": config.precision,
    }
    name = f"{params.kind}-{short_hash(facts)}"
    return Resolved(config.model_copy(update={"name": name}), values)


def image_size(params: Params, base: BaseModel) -> int:
    """Side in px of what is trained on. Raises ConfigError for one that the model cannot make."""
    size = base.size if params.train.image_size == "auto" else params.train.image_size
    if size % base.multiple:
        raise ConfigError(
            f"{PARAMS}: train.image_size {size}: model {params.train.model_name} takes sides that "
            f"are multiples of {base.multiple} px (it was made for {base.size})"
        )
    return size


def in_params(text: str) -> str:
    """Words of the trainer, with its keys named as params.yaml names them."""

    def placed(found: re.Match[str]) -> str:
        key = found[0]
        return key if key in _OWN else PLACES.get(key, f"train.settings.{key}")

    return _KEYS.sub(placed, text)


def _config(
    params: Params, size: int, rate: float, precision: str, recipe: Mapping[str, Any]
) -> TrainConfig:
    """All faults at once. `recipe`: of validation pictures, where the settings say nothing."""
    given, faults = params.train, _misplaced(params)
    whole: dict[str, Any] = dict(given.settings)
    data, optimizer, subject, validation = (
        dict(own) if isinstance(own := whole.get(key) or {}, Mapping) else {}
        for key in ("data", "optimizer", "subject", "validation")
    )
    if given.image_size != "auto":
        size = given.image_size
    whole["data"] = data | {"source": PREPARED, "size": size}
    if given.learning_rate != "auto":
        rate = given.learning_rate
    elif optimizer.get("name") == "prodigy":
        rate = 1.0  # it finds the rate itself
    whole["optimizer"] = optimizer | {"lr": rate}
    whole["subject"] = _subject(params, subject) if params.kind == "dreambooth" else None
    own = validation.get("recipe") or {}
    if recipe and isinstance(own, Mapping):
        whole["validation"] = validation | {"recipe": {**recipe, **own}}
    if whole.get("precision", "auto") == "auto":
        whole["precision"] = precision
    whole |= {
        "name": params.kind,
        "base": {"model": given.model_name, "revision": given.revision},
        "steps": given.steps,
    }
    try:
        found = parse(TrainConfig, whole, PARAMS)
    except ConfigError as exc:
        faults += [_placed(fault) for fault in exc.faults]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"{PARAMS}: {count}", list(dict.fromkeys(faults)))
    return found


def _subject(params: Params, settings: Mapping[str, Any]) -> dict[str, Any]:
    given = params.train
    both = {"instance_prompt": given.instance_prompt, "class_prompt": given.class_prompt}
    usual = {"prior_weight": 1.0} if given.class_prompt else {}
    return usual | dict(settings) | both


def _misplaced(params: Params) -> list[str]:
    """What settings may not hold, and what the kind has no use for."""
    given, faults = params.train, []
    flat = dict(_leaves("", given.settings))
    for key, place in PLACES.items():
        if key in flat:
            faults.append(f"train.settings.{key}: stands in {place}; remove it here")
    for key, why in _OWN.items():
        if key in flat:
            faults.append(f"train.settings.{key}: {why}; remove it")
    for key in ("base", "data", "optimizer", "subject", "validation"):
        value = given.settings.get(key)
        if value is not None and not isinstance(value, Mapping):
            faults.append(f"train.settings.{key}: keys with values are accepted (got {value!r})")
    if params.kind == "lora":
        for key in ("instance_prompt", "class_prompt"):
            if getattr(given, key) is not None:
                faults.append(
                    f"train.{key}: kind lora learns from captions (metadata.jsonl, or a .txt "
                    "beside each picture); remove it, or set kind: dreambooth"
                )
        if given.settings.get("subject") is not None:
            faults.append("train.settings.subject: kind lora has none; remove it")
    return faults


def _leaves(at: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [
            leaf
            for key, inner in value.items()
            for leaf in _leaves(f"{at}.{key}" if at else str(key), inner)
        ]
    return [(at, value)]


def _placed(fault: str) -> str:
    """A fault of a training file, by its place in params.yaml."""
    where, sep, words = fault.partition(": ")
    for key, place in PLACES.items():
        if where == key or where.startswith(f"{key}."):
            return f"{place}{sep}{words}"
    return f"train.settings.{where}{sep}{words}"


@cache
def code_hash() -> str:
    """Of the code and the packages that train; a run is not gone on with by other ones."""
    here = Path(teststrip.__file__).parent
    files = [p for name in _CODE for p in (here / name, *(here / name).rglob("*.py"))]
    whole = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{content}  {path.relative_to(here).as_posix()}\n".encode())
    packages = machine.environment()["packages"]
    return short_hash([whole.hexdigest(), packages])
