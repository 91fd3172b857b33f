"""Prepare: find the pictures of a run, check every one, split them, write down what they were."""

import hashlib
import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from teststrip.errors import ConfigError
from teststrip.train.config import TrainConfig
from teststrip.train.data.folder import SUFFIXES, list_folder
from teststrip.train.data.found import Found, Listing
from teststrip.train.data.manifest import Splits, dataset_hash, write_manifest
from teststrip.train.data.picture import LEAST_SIDE, MOST_PIXELS, Picture, size_of, upright
from teststrip.train.data.saved import is_saved_dataset, list_dataset
from teststrip.train.data.split import hold_out

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run's pictures. `dataset_hash`: SHA-256 of contents, captions and split (64 hex)."""

    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    classes: tuple[Picture, ...]
    dataset_hash: str


def prepare(config: TrainConfig, folder: Path, class_pictures: Sequence[Picture] = ()) -> Prepared:
    """Look at every picture of `config.data`, split them, and write `folder`/manifest.json.

    A picture's own caption goes before `data.caption`, and that before `subject.instance_prompt`.
    Raises ConfigError with every fault by the picture's name.
    """
    source = Path(config.data.source).expanduser()
    listing = _list(source, config)
    fallback = config.data.caption or (config.subject.instance_prompt if config.subject else "")
    pictures, same = _look_at_all(listing, fallback)
    _refuse(source, listing, config.data.held_out, len(set(same.values())))
    train, held_out = hold_out(pictures, config.data.held_out, same)
    if config.trigger and not any(config.trigger in picture.caption for picture in train):
        log.warning("trigger %r is in no caption, so it will not be learned", config.trigger)
    splits: Splits = {"train": train, "held_out": held_out, "class": tuple(class_pictures)}
    total = dataset_hash(splits)
    write_manifest(folder, str(source), splits, total)
    return Prepared(train, held_out, tuple(class_pictures), total)


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


def _look_at_all(listing: Listing, fallback: str) -> tuple[list[Picture], dict[str, str]]:
    """Decode every picture (threads: PIL decodes without holding the interpreter).

    Returns the good ones, and for each SHA-256 the lowest of those with the same pixels.
    """
    pictures: list[Picture] = []
    by_pixels: dict[str, list[str]] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        # Sizes are checked below, by our own bound and before anything is decoded.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for looked in threads.map(lambda found: _look_at(found, fallback), listing.found):
            if isinstance(looked, str):
                listing.faults.append(looked)
                continue
            picture, pixels = looked
            pictures.append(picture)
            by_pixels.setdefault(pixels, []).append(picture.sha256)
    return pictures, {sha256: min(group) for group in by_pixels.values() for sha256 in group}


def _look_at(found: Found, fallback: str) -> tuple[Picture, str] | str:
    """The picture and a hash of its pixels, or what is wrong with it."""
    try:
        data = found.read()
        width, height = size_of(data)
        if width * height > MOST_PIXELS:
            return (
                f"{found.name}: {width} x {height} px is huge; at most {MOST_PIXELS // 10**6} "
                "megapixels are accepted, scale it down"
            )
        if min(width, height) < LEAST_SIDE:
            return (
                f"{found.name}: {width} x {height} px is too small; "
                f"at least {LEAST_SIDE} px a side are accepted"
            )
        image = upright(data)
    except OSError as exc:
        return f"{found.name}: cannot be read as a picture: {exc}"
    caption = found.caption or fallback
    if not caption:
        return (
            f"{found.name}: has no caption; add it to metadata.jsonl or a .txt beside it, or set "
            "data.caption"
        )
    sha256 = hashlib.sha256(data).hexdigest()
    pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    return Picture(found.name, caption, sha256, *image.size, read=found.read), pixels


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
    raise ConfigError(f"data.source {source}: {count}", faults)
