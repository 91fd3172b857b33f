"""A study file around one recipe: its neighbours in the settings that matter most, paired."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StudyError
from teststrip.files import write_atomic
from teststrip.recipe import Recipe
from teststrip.study.config import is_name
from teststrip.study.load import resolve

DRAFTS = "drafts"
SEARCHED = ("scheduler", "steps", "guidance")
OTHERS = ("dpmpp_2m", "euler", "ddim", "unipc")
FEWEST_TO_HOLD_OUT = 4
MOST_PROMPTS = 200
TRIALS = 24


def study_yaml(name: str, recipe: Recipe, prompts: Sequence[str]) -> str:
    """The file's text. Raises ConfigError with every fault: the name, the prompts.

    The recipe is the baseline. Its scheduler stays fixed where another setting hangs on it.
    """
    import yaml

    prompts = list(dict.fromkeys(text.strip() for text in prompts if text.strip()))
    if len(prompts) > MOST_PROMPTS:
        raise ConfigError(f"{len(prompts)} prompts; at most {MOST_PROMPTS} are accepted here")
    space = _space(recipe)
    fixed = recipe.model_dump(mode="json", exclude_defaults=True) | {"model": recipe.model}
    fixed = {key: value for key, value in fixed.items() if key not in space}
    baseline = {key: value for key, value in recipe.model_dump(mode="json").items() if key in space}
    holds = len(prompts) >= FEWEST_TO_HOLD_OUT
    few = "" if len(prompts) >= 8 else "  # more prompts say more than more seeds: 8 or more"
    lines = [
        "# A study around one recipe of the playground. It starts only when you run it:",
        f"#   teststrip study plan {name}.yaml      what it costs, before an image is made",
        f"#   teststrip study run {name}.yaml",
        f"name: {_flow(name)}",
        "",
        f"prompts:{few}",
        "  items:",
        *(f"    - {_flow(text)}" for text in prompts),
        *(
            ["  held_out: 0.25         # never used in the search, kept to confirm the winner"]
            * holds
        ),
        f"seeds: {2 if holds else 8}",
        "",
        "recipe:                  # what stays as it is",
        *(f"  {key}: {_flow(value)}" for key, value in fixed.items()),
        "",
        "space:                   # what is searched",
        *(f"  {key}: {_flow(value)}" for key, value in space.items()),
        "  dummy_a: {float: [0, 1]}   # does nothing: shows what chance alone would look like",
        "",
        "baseline:                # the recipe of the playground, to be beaten",
        *(f"  {key}: {_flow(value)}" for key, value in baseline.items()),
        "",
        "scorers: [clip, technical]",
        "objectives: clip",
        "",
        f"design: {{kind: sobol, trials: {_trials(space)}, seed: 1}}",
        "race: {kind: halving}    # bad recipes are stopped early",
        "",
    ]
    text = "\n".join(lines)
    resolve(yaml.safe_load(text), Path(), f"study {name}")
    return text


def save(home: Path, name: str, text: str) -> Path:
    """Write `home/drafts/NAME.yaml`; a file of that name that says something else stays.

    Raises ConfigError for a name that is taken or none, StorageError.
    """
    if not is_name(name):
        raise ConfigError(f"name {name!r}: letters, digits, '.', '_' and '-', at most 64")
    path = home / DRAFTS / f"{name}.yaml"
    if path.exists() and path.read_bytes() != text.encode():
        raise ConfigError(f"{path.name} is already in {DRAFTS}/; choose another name")
    write_atomic(path, text.encode())
    return path


def read(home: Path, name: str) -> str:
    """A draft that was saved. Raises StudyError where there is none."""
    path = home / DRAFTS / f"{name}.yaml"
    if not is_name(name) or not path.is_file():
        raise StudyError(f"no draft is called {name[:64]!r}")
    return path.read_text(encoding="utf-8")


def _space(recipe: Recipe) -> dict[str, Any]:
    space: dict[str, Any] = {}
    hangs_on_it = recipe.eta or recipe.spacing or recipe.zero_snr
    if not hangs_on_it and recipe.scheduler not in ("lcm", "tcd"):
        space["scheduler"] = list(dict.fromkeys([recipe.scheduler, *OTHERS]))[:5]
    most = 50 if recipe.scheduler in ("lcm", "tcd") else 1000
    steps = {max(1, min(most, round(recipe.steps * share))) for share in (0.5, 0.75, 1, 1.5)}
    space["steps"] = sorted(steps) if len(steps) > 1 else sorted({*steps, recipe.steps + 1})
    space["guidance"] = _guidances(recipe)
    return space


def _guidances(recipe: Recipe) -> list[float]:
    own = recipe.guidance
    if own <= 1:
        return [1, 2, 3.5, 5]
    shares = (0.5, 0.75, 1, 1.35)
    found = {max(1.5, round(own * share * 2) / 2) for share in shares} - {own}
    lowest: Iterable[float] = () if recipe.rescale else (1,)  # rescale acts on guided images only
    return [int(v) if v == int(v) else v for v in sorted({*lowest, *found, own})]


def _trials(space: dict[str, Any]) -> int:
    count = 1
    for values in space.values():
        count *= len(values)
    return min(TRIALS, count)


def _flow(value: Any) -> str:
    """YAML on one line, whatever a prompt holds."""
    import yaml

    if isinstance(value, str):
        plain = value.replace("_", "").replace("-", "").isalnum() and value.isascii()
        style = None if plain and not value[0].isdigit() else '"'
        text = yaml.safe_dump(value, default_style=style, width=10**9, allow_unicode=True)
    else:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return str(text).strip().removesuffix("...").strip()
