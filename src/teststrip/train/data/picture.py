"""One training picture: what is known of it, and how it is opened."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 100_000_000
LEAST_SIDE = 16
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """A picture that was looked at and accepted.

    `name`: its path in the folder, or its row; `sha256` of the file's bytes; `width` and `height`
    in px as it is seen (EXIF turned). `is_class`: made for prior preservation.
    """

    name: str
    caption: str
    sha256: str
    width: int
    height: int
    is_class: bool = False
    read: Callable[[], bytes] = field(kw_only=True, repr=False, compare=False)

    def open(self) -> Image.Image:
        """The picture as it is seen: RGB, upright, transparency on white. Raises OSError."""
        return upright(self.read())


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in px as the file's head tells them, nothing decoded. Raises OSError."""
    with _opened(data) as file:
        return file.size


def upright(data: bytes) -> Image.Image:
    """Decode the bytes of a picture (its first frame) to RGB, turned as EXIF says.

    Raises OSError where the file is damaged or cut off.
    """
    with _opened(data) as file:
        return _rgb(ImageOps.exif_transpose(file))


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """PIL's reader of these bytes; whatever it raises on damaged files comes as OSError."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            yield file
    except UnidentifiedImageError as exc:
        raise OSError("no picture format that is known") from exc
    except Image.DecompressionBombError as exc:
        raise OSError("huge; at most 100 megapixels are accepted") from exc
    except OSError:
        raise
    except Exception as exc:
        # PIL's readers raise many kinds on damaged bytes (fuzzed: RuntimeError from AVIF, ...).
        raise OSError(f"damaged ({type(exc).__name__}: {exc})") from exc


@contextmanager
def quiet_reading() -> Iterator[None]:
    """No warnings from PIL: sizes have our own bound, odd metadata is no fault of the pixels.

    Around threads, not inside them: Python keeps filters for all threads alike.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F"):
        raise OSError("32 bits a channel; save it with 8 or 16")
    if picture.mode.startswith("I;16"):
        # PIL clips 16-bit greys to white instead of scaling them.
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = Image.new("RGBA", over.size, (*WHITE, 255))
        picture.alpha_composite(over)
    return picture.convert("RGB")
