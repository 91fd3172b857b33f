"""Stage prepare: pictures as people took them -> upright RGB squares of one size, with captions."""

import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.files import storage_error
from teststrip.project.layout import IMAGES, PARAMS, PREPARED
from teststrip.project.metrics import write_metrics
from teststrip.project.params import Params
from teststrip.project.pictures import png_bytes, safe_names, square
from teststrip.project.project import Project
from teststrip.train.data.folder import METADATA, SUFFIXES, list_folder
from teststrip.train.data.found import Found
from teststrip.train.data.picture import LEAST_SIDE, MOST_PIXELS, quiet_reading, size_of, upright
from teststrip.wire.stages import Here, Made, train_config
from teststrip.wire.stages.base_model import BaseModel
from teststrip.wire.stages.canonical import inside

CAPTION = "text"
LEAST, MOST = 16, 8192
LEAST_PICTURES = 2
MOST_NAMED = 5
_BESIDE = ("readme", "license", "licence", "thumbs.db", "desktop.ini")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Square:
    """One picture, prepared: its name, why it cannot be used, its size as it was taken in px."""

    name: str
    fault: str = ""
    width: int = 0
    height: int = 0


def run(project: Project, here: Here) -> Made:
    """Write data/prepared and metrics/prepare.json.

    Raises ConfigError that names every picture which cannot be used and every wrong parameter.
    """
    if os.environ.get("RANK", "0") != "0":
        return Made()  # one of several processes on several GPUs: the first one prepares
    with inside(project) as whole:
        train_config.check(whole.params)
        size = _size(whole.params)
        found = _list(whole.path(IMAGES), whole.params)
        names = safe_names(one.name for one in found)
        with whole.replacing(PREPARED) as place:
            squares = _prepare(found, names, place, size, here)
            _refuse(squares)
            captions = {names[one.name]: one.caption for one in found if one.caption}
            lines = (
                json.dumps({"file_name": name, CAPTION: text}, ensure_ascii=False)
                for name, text in sorted(captions.items())
            )
            if captions:
                text = "".join(f"{line}\n" for line in lines)
                (place / METADATA).write_text(text, encoding="utf-8")
        small = [one.name for one in squares if min(one.width, one.height) < size]
        _warn_of_small(small, size)
        count = {
            "pictures": len(squares),
            "size": size,
            "captions": len(captions),
            "enlarged": len(small),
            "cropped": sum(one.width != one.height for one in squares),
        }
        write_metrics(whole.path("metrics/prepare.json"), count)
    said = f"{len(squares)} pictures, {size} x {size} px"
    if small:
        said += f"; {len(small)} of them were smaller and were enlarged"
    return Made(resolved={"prepare.size": size}, said=said)


def _size(params: Params) -> int:
    """Side in px. Raises ConfigError, ModelError."""
    size = params.prepare.size
    if size == "auto":
        given = params.train
        if given.image_size != "auto":
            size = given.image_size
        else:
            return BaseModel.find(given.model_name, given.revision).size
    if not LEAST <= size <= MOST:
        raise ConfigError(f"{PARAMS}: prepare.size {size}: {LEAST} to {MOST} px are accepted")
    return size


def _list(folder: Path, params: Params) -> list[Found]:
    """All pictures of the folder. Raises ConfigError with whatever does not belong there."""
    listing = list_folder(folder, CAPTION)
    pictures = {one.name for one in listing.found}
    faults = [fault.replace("data.source", IMAGES) for fault in listing.faults]
    stems = {Path(name).with_suffix("").as_posix() for name in pictures}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in Path(name).parts)
        known = name in pictures or path.name == METADATA or path.name.lower().startswith(_BESIDE)
        if hidden or known or not path.is_file():
            continue
        if path.suffix != ".txt":
            faults.append(f"{name}: no picture ({' '.join(SUFFIXES)}) and no caption; remove it")
        elif Path(name).with_suffix("").as_posix() not in stems:
            faults.append(f"{name}: a caption, and no picture of that name; remove or rename it")
    settings = params.train.settings.get("data")
    fallback = settings.get("caption") if isinstance(settings, Mapping) else None
    if params.kind == "lora" and not fallback:
        faults += [
            f"{one.name}: has no caption; add it to {METADATA} or a .txt beside it, or set "
            "train.settings.data.caption"
            for one in listing.found
            if not one.caption
        ]
    if len(pictures) < LEAST_PICTURES:
        faults.append(
            f"{len(pictures) or 'no'} picture{'' if len(pictures) == 1 else 's'}; at least "
            f"{LEAST_PICTURES} are needed, since one is held out; 5 to 30 are usual"
        )
    if faults:
        raise _error(faults)
    return listing.found


def _prepare(
    found: list[Found], names: Mapping[str, str], place: Path, size: int, here: Here
) -> list[_Square]:
    """Write every square into `place`; in threads, since PIL decodes without the interpreter."""

    def one(picture: Found) -> _Square:
        try:
            data = picture.read()
            width, height = size_of(data)
            if width * height > MOST_PIXELS:
                most = MOST_PIXELS // 10**6
                raise OSError(f"{width} x {height} px is huge; at most {most} megapixels")  # noqa: TRY301
            image = upright(data)
            if min(image.size) < LEAST_SIDE:
                raise OSError(  # noqa: TRY301
                    f"{width} x {height} px is too small; at least {LEAST_SIDE} px a side"
                )
            content = png_bytes(square(image, size))
        except OSError as exc:
            return _Square(picture.name, f"cannot be used: {exc}")
        path = place / names[picture.name]
        try:
            path.write_bytes(content)
        except OSError as exc:
            raise storage_error(path, exc) from exc
        return _Square(picture.name, "", *image.size)

    out = []
    with quiet_reading(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for number, done in enumerate(threads.map(one, found), start=1):
            out.append(done)
            here.progress("pictures", number, len(found))
    return out


def _refuse(squares: list[_Square]) -> None:
    faults = [f"{one.name}: {one.fault}" for one in squares if one.fault]
    if faults:
        raise _error(faults)


def _error(faults: list[str]) -> ConfigError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ConfigError(f"{IMAGES}: {count}", faults)


def _warn_of_small(small: list[str], size: int) -> None:
    if small:
        more = ", ..." if len(small) > MOST_NAMED else ""
        log.warning(
            "%d pictures are smaller than %d x %d px and were enlarged, so they are blurred: %s%s",
            len(small),
            size,
            size,
            ", ".join(small[:MOST_NAMED]),
            more,
        )
