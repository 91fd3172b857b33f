"""Open a stranger's picture safely, and the settings texts inside it: PNG text, EXIF."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import ExifTags, Image

from teststrip.errors import ConfigError
from teststrip.png import MAX_PIXELS

EXTENSIONS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
LONGEST_TEXT = 4_000_000
_FAULTS = (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, OverflowError)


@dataclass(frozen=True)
class Picture:
    """A picture that can be decoded. `texts`: its settings texts by keyword."""

    kind: str
    width: int
    height: int
    texts: Mapping[str, str] = field(repr=False)
    image: Image.Image = field(repr=False)


def open_picture(data: bytes) -> Picture:
    """Decode PNG, JPEG or WebP. Size is checked before a pixel is; raises ConfigError."""
    import struct

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd EXIF; bombs are refused just below
        try:
            picture = Image.open(io.BytesIO(data), formats=list(EXTENSIONS))
            width, height = _checked_size(picture)
            kind = str(picture.format)
            picture.load()  # texts behind the pixels are known only now
            texts = _png_texts(picture) if kind == "PNG" else {}
            texts = _exif_texts(picture) | texts
            return Picture(kind, width, height, texts, picture.convert("RGB"))
        except Image.DecompressionBombError as exc:
            raise ConfigError(f"too many pixels; at most {MAX_PIXELS} are read") from exc
        except ConfigError:
            raise
        except (*_FAULTS, struct.error, EOFError, MemoryError) as exc:
            raise ConfigError(f"is no PNG, JPEG or WebP that can be read: {exc}"[:300]) from exc


def _checked_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ConfigError(f"{width} x {height} px; at most {MAX_PIXELS} are read")
    return width, height


def as_png(picture: Picture) -> bytes:
    """Its pixels as a PNG, for scorers and pages that take nothing else."""
    out = io.BytesIO()
    picture.image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _png_texts(picture: Image.Image) -> dict[str, str]:
    found = getattr(picture, "text", {})
    return {
        str(key)[:80]: str(value)
        for key, value in found.items()
        if isinstance(value, str) and len(value) <= LONGEST_TEXT
    }


def _exif_texts(picture: Image.Image) -> dict[str, str]:
    """`UserComment` (A1111, SwarmUI: as `parameters`) and ComfyUI's `prompt:{..}` in any tag."""
    try:
        exif = picture.getexif()
        comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
        plain = [value for value in exif.values() if isinstance(value, str)]
    except (*_FAULTS, AttributeError):
        return {}
    texts: dict[str, str] = {}
    for value in plain:
        key, colon, rest = value.partition(":")
        if colon and key.strip().lower() in ("prompt", "workflow") and len(rest) <= LONGEST_TEXT:
            texts[key.strip().lower()] = rest.strip("\x00 ")
    told = _comment(comment)
    if told and len(told) <= LONGEST_TEXT:
        texts["parameters"] = told
    return texts


def _comment(value: object) -> str:
    """EXIF 2.3: eight bytes name the code of what follows; UNICODE says no byte order."""
    if isinstance(value, str):
        return value.strip("\x00 ")
    if not isinstance(value, bytes):
        return ""
    code, rest = value[:8], value[8:]
    if code == b"UNICODE\x00":
        # Latin letters have a zero byte first (big) or second (little endian)
        big = rest[:200:2].count(0) >= rest[1:200:2].count(0)
        return rest.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\ufeff\x00 ")
    if code in (b"ASCII\x00\x00\x00", b"\x00" * 8):
        return rest.decode("utf-8", "replace").strip("\x00 ")
    return value.decode("utf-8", "replace").strip("\x00 ")
