"""Validation images: the same prompts and seeds by the same recipe at every checkpoint."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from teststrip import png
from teststrip.config import parse
from teststrip.engine import loading
from teststrip.errors import ConfigError
from teststrip.files import storage_error, write_atomic
from teststrip.noise import NOISE_NAMES, split_name
from teststrip.protocols import Generator
from teststrip.recipe import Block, Lora, Recipe, Request
from teststrip.records import Failure, Generation
from teststrip.train.config import TrainConfig

log = logging.getLogger(__name__)
OnImage = Callable[[int, int], None]
BASE = 0


class Validation:
    """Makes the images of checkpoints into `<folder>/samples/<step>/`."""

    def __init__(self, config: TrainConfig, folder: Path, generator: Generator) -> None:
        self._generator = generator
        self._samples = folder / "samples"
        self.recipe = base_recipe(config)
        prompts = dict.fromkeys(config.validation.prompts)
        seeds = dict.fromkeys(config.validation.seeds)
        self.blocks = [Block(prompt=prompt, seed=seed) for prompt in prompts for seed in seeds]
        self.prompts = {block.prompt_id: block.prompt for block in self.blocks}

    def path(self, step: int, block: Block) -> Path:
        """Where an image lies."""
        return self._samples / str(step) / f"{block.prompt_id}-{block.seed}.png"

    def make(
        self, step: int, weights: Path | None, on_image: OnImage | None = None
    ) -> tuple[list[Generation], list[Failure]]:
        """The images of a checkpoint in the order of `blocks`, and what could not be made.

        `weights`: the adapter's file; None (step 0): the base model. Images that are there by the
        same request are not made again. Raises ModelError, StorageError.
        """
        loras = () if weights is None else (Lora(path=str(weights)),)
        recipe = self.recipe.changed(loras=loras)
        wanted = [Request(recipe=recipe, block=block) for block in self.blocks]
        made = {r: old for r in wanted if (old := self._made(step, r)) is not None}
        failures = []
        missing = [request for request in wanted if request not in made]
        for done, outcome in enumerate(self._generator.generate(missing), 1):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                block = outcome.request.block
                log.warning(
                    "step %d, %.60r, seed %d: no image: %s",
                    step,
                    block.prompt,
                    block.seed,
                    outcome.reason,
                )
            else:
                write_atomic(self.path(step, outcome.request.block), outcome.png)
                made[outcome.request] = outcome
            if on_image is not None:
                on_image(len(wanted) - len(missing) + done, len(wanted))
        return [made[request] for request in wanted if request in made], failures

    def forget_after(self, step: int) -> None:
        """Delete the images of later checkpoints: the run makes them once more."""
        for folder in self._samples.glob("*/"):
            if folder.name.isdigit() and int(folder.name) > step:
                forget(folder)

    def _made(self, step: int, request: Request) -> Generation | None:
        path = self.path(step, request.block)
        try:
            data = path.read_bytes()
            facts = png.read(data)
        except (OSError, ConfigError):
            return None
        if facts.request != request:
            return None
        return Generation(request, facts.image_key, data, 0.0, 0, facts.facts)


def base_recipe(config: TrainConfig) -> Recipe:
    """The recipe of validation images without adapter: the model's own defaults, changed.

    A default that a changed scheduler or guidance has no use for gives way. Raises ConfigError,
    ModelError.
    """
    fields = dict(config.validation.recipe)
    own = sorted({"model", "revision", "loras"} & set(fields))
    if own:
        raise ConfigError(
            "validation.recipe",
            [f"{name}: is given by the run itself; remove it" for name in own],
        )
    folder = loading.find_folder(config.base.model, config.base.revision)
    merged = loading.default_fields(folder) | fields
    merged |= {"model": config.base.model, "revision": config.base.revision}
    for name in idle_fields(merged):
        if name not in fields:
            merged.pop(name, None)
    return parse(Recipe, merged, "validation.recipe")


def idle_fields(fields: Mapping[str, object]) -> list[str]:
    """Fields that this scheduler or guidance has no use for."""
    scheduler = str(fields.get("scheduler", Recipe().scheduler))
    try:
        known = NOISE_NAMES[split_name(scheduler)[0]]
    except KeyError:
        return []  # the recipe says so itself
    guidance = fields.get("guidance", Recipe().guidance)
    unguided = guidance in (None, "none") or (
        isinstance(guidance, int | float) and float(guidance) <= 1
    )
    idle = {
        "zero_snr": not known.zero_snr,
        "spacing": not known.spacing,
        "eta": scheduler not in ("ddim", "tcd"),
        "rescale": unguided,
    }
    return [name for name, has_no_use in idle.items() if has_no_use]


def forget(folder: Path) -> None:
    """Delete a checkpoint's images. Raises StorageError."""
    try:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    except OSError as exc:
        raise storage_error(folder, exc) from exc
