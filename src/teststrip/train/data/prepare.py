"""Prepare: find the pictures of a run, check every one, split them, write down what they were."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.train.config import TrainConfig
from teststrip.train.data.folder import SUFFIXES, list_folder
from teststrip.train.data.found import Listing
from teststrip.train.data.look import OnProgress, look_at_all
from teststrip.train.data.manifest import Splits, dataset_hash, write_manifest
from teststrip.train.data.picture import Picture
from teststrip.train.data.saved import is_saved_dataset, list_dataset
from teststrip.train.data.split import hold_out

MOST_FAULTS = 100
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run's pictures. `dataset_hash`: SHA-256 of contents, captions and split (64 hex)."""

    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    classes: tuple[Picture, ...]
    dataset_hash: str


def prepare(
    config: TrainConfig,
    folder: Path,
    class_pictures: Sequence[Picture] | Callable[[], Sequence[Picture]] = (),
    on_progress: OnProgress | None = None,
) -> Prepared:
    """Look at every picture of `config.data`, split them, and write `folder`/manifest.json.

    A picture's own caption goes before `data.caption`, and that before `subject.instance_prompt`.
    `class_pictures` may be a function that makes them: it is called once all else is found right.
    `on_progress(done, total)` gets pictures looked at. Raises ConfigError with every fault by the
    picture's name (then nothing is written), or where the run in `folder` was begun on others.
    """
    source = Path(config.data.source).expanduser()
    listing = _list(source, config)
    fallback = config.data.caption or (config.subject.instance_prompt if config.subject else "")
    pictures, same = look_at_all(listing, fallback, on_progress)
    _refuse(source, listing, config.data.held_out, len(set(same.values())))
    train, held_out = hold_out(pictures, config.data.held_out, same)
    if config.trigger and not any(config.trigger in picture.caption for picture in train):
        log.warning("trigger %r is in no caption, so it will not be learned", config.trigger)
    classes = tuple(class_pictures() if callable(class_pictures) else class_pictures)
    splits: Splits = {"train": train, "held_out": held_out, "class": classes}
    total = dataset_hash(splits)
    write_manifest(folder, str(source), splits, total)
    return Prepared(train, held_out, classes, total)


def _list(source: Path, config: TrainConfig) -> Listing:
    data = config.data
    if not source.is_dir():
        raise ConfigError(
            f"data.source {source}: no such folder; accepted: a folder of pictures, or a dataset "
            "that was saved to disk"
        )
    if is_saved_dataset(source):
        listing = list_dataset(source, data.image_column, data.caption_column)
    else:
        listing = list_folder(source, data.caption_column)
    if not listing.found:
        raise ConfigError(
            f"data.source {source}: holds no pictures; accepted: {' '.join(SUFFIXES)}, or a "
            "dataset that was saved to disk",
            listing.faults,
        )
    return listing


def _refuse(source: Path, listing: Listing, share: float, different: int) -> None:
    """Raise ConfigError if anything is wrong with the pictures."""
    if not listing.faults and (different > 1 or not share):
        return
    faults = list(listing.faults)
    if not faults:
        faults.append(
            f"only one picture ({listing.found[0].name}"
            + (f", {len(listing.found)} times" if len(listing.found) > 1 else "")
            + "): none would be left to be held out, and without held-out pictures nobody can "
            "tell learning from copying; add pictures, or set data.held_out to 0"
        )
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    if len(faults) > MOST_FAULTS:
        faults[MOST_FAULTS:] = [f"... and {len(faults) - MOST_FAULTS} more"]
    raise ConfigError(f"data.source {source}: {count}", faults)
