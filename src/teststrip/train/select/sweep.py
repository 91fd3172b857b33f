"""The study that an answer is tried in: checkpoint x scale, the base model as baseline.

An ordinary study: raced on prompts with seeds that no checkpoint was validated with, its leader
confirmed on prompts that nothing before has seen. `teststrip study show|report|promote` work on it
afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.recipe import Block, short_hash
from teststrip.study.config import Named, StudyConfig, check
from teststrip.study.prompts import Prompts
from teststrip.train.config import TrainConfig
from teststrip.train.select.measured import NEAREST, Measured
from teststrip.train.select.rule import Choice

SCALES = (0.5, 0.75, 1.0, 1.25)
LEAST, LEAST_HELD = 8, 4  # prompts in all, and of these held out (a t test needs 4)
HELD_OUT = 1 / 3
BLOCKS = 32
MOST_SEEDS = 8
MOST_CHECKPOINTS = 4
LOCAL = Named(name="local")


@dataclass(frozen=True)
class Sweep:
    """`prompts`: none of the validation's, or empty to take those. `scales`: of the adapter.

    `checkpoints`: the most that are tried; of a larger answer the leader and others spread evenly.
    """

    scales: tuple[float, ...] = SCALES
    prompts: tuple[str, ...] = ()
    checkpoints: int = MOST_CHECKPOINTS
    generator: Named = LOCAL


def check_sweep(sweep: Sweep) -> None:
    """Raise ConfigError with every fault."""
    faults = [
        f"--scales {scale:g}: above 0 and at most 10 is accepted"
        for scale in sweep.scales
        if not 0 < scale <= 10
    ]
    if not sweep.scales or len(set(sweep.scales)) != len(sweep.scales):
        faults.append("--scales: give at least one, each once")
    if sweep.checkpoints < 1:
        faults.append(f"--top {sweep.checkpoints}: at least 1")
    if sweep.prompts and len(sweep.prompts) < LEAST:
        faults.append(f"--prompts: {len(sweep.prompts)}; at least {LEAST} are needed")
    if faults:
        raise ConfigError("train select: flags cannot be used", faults)


def hindrance(run: Measured, sweep: Sweep) -> str:
    """Why there can be no study; empty where there can."""
    if sweep.prompts:
        return ""
    if len(run.prompts) >= LEAST:
        return ""
    return (
        f"checkpoint x scale was not tried: it needs {LEAST} prompts (some to search with, some "
        f"that nothing has seen, to confirm), the run validates on {len(run.prompts)}; give "
        "--prompts FILE or train with more validation.prompts"
    )


def kept_back(run: Measured, sweep: Sweep) -> tuple[str, ...]:
    """Ids of the validation prompts that the study will confirm on: the choice may not see them."""
    if hindrance(run, sweep):
        return ()
    held = {Block(prompt=p.text, seed=0).prompt_id for p in _prompts(run, sweep).split()[1]}
    known = run.record.get("prompts") or {}
    return tuple(sorted(held & set(map(str, known))))


def tried(choice: Choice, sweep: Sweep) -> tuple[int, ...]:
    """The checkpoints of the answer that go into the study.

    Neighbours are alike, so of many the leader and others spread evenly over the answer stand for
    all of them.
    """
    answer, most = choice.answer, sweep.checkpoints
    if choice.leader is None or len(answer) <= most:
        return answer
    others = [step for step in answer if step != choice.leader]
    places = [round((k + 0.5) * len(others) / (most - 1) - 0.5) for k in range(most - 1)]
    return tuple(sorted({choice.leader, *(others[p] for p in places)}))


def study_of(
    choice: Choice, sweep: Sweep, config: TrainConfig, objective: str | None = None
) -> StudyConfig:
    """The study. `objective`: a score; the one that decided, else the run's first scorer's.

    Its name ends in a hash of all that matters, so that the same again goes on with the old one.
    Raises ConfigError where the run has no score to be had again.
    """
    from teststrip.train.measure.validation import base_recipe

    run = choice.run
    column = objective or (choice.score.name if choice.score else None)
    prompts = _prompts(run, sweep)
    search, held = (len(part) for part in prompts.split())
    seeds = min(max(-(-BLOCKS // search), -(-BLOCKS // (2 * held)), 2), MOST_SEEDS)
    recipe = base_recipe(config).model_dump(mode="json", exclude_defaults=True, exclude={"loras"})
    keys: dict[str, Any] = {
        "prompts": prompts.model_dump(mode="json"),
        "seeds": {"per_prompt": seeds, "base": _fresh(config.validation.seeds)},
        "recipe": recipe,
        "generator": sweep.generator.model_dump(mode="json"),
        "space": {
            "lora": [str(run.weights[step].resolve()) for step in tried(choice, sweep)],
            "lora_scale": list(sweep.scales),
        },
        "scorers": _scorers(run, config, column),
        "objectives": [column or _first(config)],
        "design": {"kind": "grid"},
    }
    digests = [str(run.meta[step].get("sha256")) for step in tried(choice, sweep)]
    name = f"{run.name[:45]}-select-{short_hash([keys, digests], 8)}"
    return check({"name": name} | keys, f"study {name}")


def step_of(choice: Choice, file: str) -> int:
    """The checkpoint that an adapter's file in the study belongs to."""
    return next(step for step, path in choice.run.weights.items() if str(path.resolve()) == file)


def _prompts(run: Measured, sweep: Sweep) -> Prompts:
    texts = list(dict.fromkeys(sweep.prompts or run.prompts))
    share = max(HELD_OUT, LEAST_HELD / len(texts))
    return Prompts.model_validate({"items": texts, "held_out": share})


def _fresh(seeds: Sequence[int]) -> int:
    """A first seed such that none of validation comes again in the search (at most 8 follow)."""
    used = set(seeds)
    base = 10_000
    while used & set(range(base, base + MOST_SEEDS)):
        base += MOST_SEEDS
    return base


def _scorers(run: Measured, config: TrainConfig, column: str | None) -> list[dict[str, Any]]:
    """The run's own; likeness to its held-out pictures where that decides, nearness where known."""
    from teststrip.train.data.saved import is_saved_dataset
    from teststrip.train.measure.nearest import clip_options

    named = [scorer.model_dump(mode="json") for scorer in config.validation.scorers]
    pictures = {
        "folder": config.data.source,
        "manifest": str((run.folder / "manifest.json").resolve()),
    }
    wanted = {}
    if (column or "").startswith("likeness"):
        if is_saved_dataset(Path(config.data.source)):
            raise ConfigError(
                "train select: likeness is measured against picture files, and the run's pictures "
                "are a saved dataset; name another score (--score clip) or use --no-sweep"
            )
        wanted["likeness"] = "held_out"
    if run.honest:
        wanted[NEAREST] = "train"
    for name, split in wanted.items():
        if not any(scorer["name"] == name for scorer in named):
            options = clip_options(config) | pictures | {"split": split}
            named.append({"name": name, "options": options})
    return named


def _first(config: TrainConfig) -> str:
    if not config.validation.scorers:
        raise ConfigError(
            "train select: the run has no scorer, so checkpoint x scale cannot be judged; "
            "train with validation.scorers, or use --no-sweep"
        )
    return config.validation.scorers[0].name
