"""Pictures of a subject's class, made by the base model, so that the class stays as it was."""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from teststrip.engine.loading import default_fields, find_folder
from teststrip.errors import GenerationError
from teststrip.files import write_atomic
from teststrip.protocols import Generator
from teststrip.recipe import Block, Recipe, Request
from teststrip.records import Failure
from teststrip.train.config import TrainConfig
from teststrip.train.data.folder import read_file
from teststrip.train.data.picture import Picture, upright

# Class pictures are trained on; validation images of the same words must not be the same ones.
FIRST_SEED = 1_000_000
log = logging.getLogger(__name__)
OnProgress = Callable[[int, int], None]


def class_requests(config: TrainConfig) -> list[Request]:
    """What the base model is asked for: its own recipe, one picture for each seed."""
    subject = config.subject
    if subject is None or subject.class_prompt is None:
        return []
    base = config.base
    fields = default_fields(find_folder(base.model, base.revision))
    if config.data.size:
        fields |= {"width": config.data.size[0], "height": config.data.size[1]}
    recipe = Recipe.model_validate(fields | {"model": base.model, "revision": base.revision})
    return [
        Request(recipe=recipe, block=Block(prompt=subject.class_prompt, seed=FIRST_SEED + n))
        for n in range(subject.class_pictures)
    ]


def class_pictures(
    config: TrainConfig,
    generator: Generator,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> list[Picture]:
    """The class pictures of a run, in order of seed; those not in `folder` are made first.

    Each is kept as <image key>.png as soon as it is made, so a run that was killed goes on where
    it was and runs of one base model share them. Raises GenerationError naming what could not be
    made, ModelError, StorageError.
    """
    requests = class_requests(config)
    if not requests:
        return []
    fingerprint = generator.fingerprint(requests[0].recipe)
    paths = {r: folder / f"{r.image_key(fingerprint)}.png" for r in requests}
    found = {r: p for r, path in paths.items() if (p := _read(r, path)) is not None}
    failed = []
    missing = [r for r in requests if r not in found]
    if missing:
        log.info("making %d of %d class pictures", len(missing), len(requests))
    for outcome in generator.generate(missing):
        if isinstance(outcome, Failure):
            failed.append(f"seed {outcome.request.block.seed}: {outcome.reason}")
            continue
        path = paths[outcome.request]
        write_atomic(path, outcome.png)
        picture = _read(outcome.request, path)
        if picture is None:
            failed.append(f"seed {outcome.request.block.seed}: the generator's PNG is damaged")
            continue
        found[outcome.request] = picture
        if on_progress is not None:
            on_progress(len(found), len(requests))
    if failed:
        raise GenerationError(
            f"{len(failed)} of {len(requests)} class pictures could not be made: {failed[0]}"
        )
    return [found[request] for request in requests]


def _read(request: Request, path: Path) -> Picture | None:
    """The picture that is kept at `path`, or None if there is none or it is damaged."""
    try:
        data = read_file(path)
        width, height = upright(data).size
    except OSError:
        return None
    return Picture(
        path.name,
        request.text,
        hashlib.sha256(data).hexdigest(),
        width,
        height,
        is_class=True,
        read=partial(read_file, path),
    )
