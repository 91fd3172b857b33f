"""A Hugging Face dataset that was saved to disk (`Dataset.save_to_disk`)."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, MissingExtra
from teststrip.train.data.folder import read_file
from teststrip.train.data.found import Found, Listing

MARKS = ("state.json", "dataset_dict.json")
SPLIT = "train"


def is_saved_dataset(folder: Path) -> bool:
    """True where `datasets.load_from_disk` wrote this folder."""
    return any((folder / mark).is_file() for mark in MARKS)


def list_dataset(folder: Path, image_column: str, caption_column: str) -> Listing:
    """The rows of a saved dataset; of several splits the one named `train`.

    Pictures are read row by row when they are wanted. A caption column that is not there means
    no captions. Raises ConfigError (no such split, no image column, not readable), MissingExtra.
    """
    rows = _open(folder, image_column)
    captions: list[Any] = [""] * len(rows)
    faults = []
    if caption_column in rows.column_names:
        captions = list(rows[caption_column])
        wrong = [n for n, caption in enumerate(captions) if not isinstance(caption, str | None)]
        faults = [f"row {n}: {caption_column} is no text" for n in wrong]
    found = [
        Found(
            f"row {number}",
            partial(_read_row, folder, image_column, number),
            caption.strip() if isinstance(caption, str) else "",
        )
        for number, caption in enumerate(captions)
    ]
    return Listing(found, faults)


def _read_row(folder: Path, column: str, number: int) -> bytes:
    """The encoded picture of one row. Raises OSError where there is none."""
    kept = _open(folder, column)[number][column]
    if not kept or not (kept["bytes"] or kept["path"]):
        raise OSError("the row holds no picture")
    return kept["bytes"] or read_file(Path(kept["path"]))


@lru_cache(maxsize=8)
def _open(folder: Path, column: str) -> Any:
    """The split's rows, with pictures left encoded."""
    try:
        from datasets import Dataset, DatasetDict, Image, load_from_disk
    except ImportError as exc:
        raise MissingExtra("a dataset that was saved to disk", "datasets") from exc
    try:
        found: Dataset | DatasetDict = load_from_disk(str(folder))
    except Exception as exc:
        # datasets and pyarrow raise many kinds for a damaged folder; all mean the same here.
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ConfigError(f"data.source {folder}: cannot be opened as a dataset: {reason}") from exc
    if isinstance(found, DatasetDict):
        if SPLIT not in found and len(found) != 1:
            raise ConfigError(
                f"data.source {folder}: holds the splits {', '.join(found)}; name the folder of "
                f"one of them, or call one {SPLIT}"
            )
        found = found[SPLIT] if SPLIT in found else next(iter(found.values()))
    kinds = {name: type(kind).__name__ for name, kind in found.features.items()}
    if kinds.get(column) != "Image":
        told = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise ConfigError(
            f"data.image_column {column!r}: the dataset {folder} has no pictures there; "
            f"its columns: {told}"
        )
    return found.cast_column(column, Image(decode=False))
