"""Packs: a recipe's small pictures in one HTML page, which MLflow's page shows as it is.

A tracking server takes 4 ms for each file that it is sent, small or large; 16 pictures of 9 kB are
16 times that, one page with all of them is once (numbers: docs/tracking-numbers.md). The pictures
are in it byte for byte, as data: addresses, and come out again the same.
"""

import base64
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Mapping
from html import escape, unescape

from teststrip import png
from teststrip.errors import ConfigError, StorageError

# From this size on base64's third more costs a slow line more than a request of its own.
LARGE = 256 * 1024
MOST_BYTES = 8 * 2**20  # of one pack's pictures: its page is one upload
MOST_LETTERS = 4500  # of the names that one tag holds
_PICTURE = re.compile(
    r'<figure id="([^"]*)"><img alt="[^"]*" src="data:[^;"]*;base64,([A-Za-z0-9+/=]*)">'
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 13px/1.4 system-ui, sans-serif; margin: 12px; color: #222; background: #fff }}
main {{ display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)) }}
figure {{ margin: 0; overflow-wrap: anywhere }}
img {{ width: 100%; max-width: 512px; background: #eee }}
p {{ color: #555; overflow-wrap: anywhere }}
</style></head><body>
<p>{title}</p>
<main>
{figures}
</main></body></html>
"""


def sorted_out(pictures: Mapping[str, bytes]) -> tuple[list[list[str]], list[list[str]]]:
    """(packs, single files), by name: what goes together and what by itself, in the order given.

    Each list's names fit one tag. Large pictures go by themselves, and so does a lonely one.
    """
    small = {name: len(data) for name, data in pictures.items() if len(data) < LARGE}
    together = small if len(small) > 1 else {}
    return groups(together), groups({name: 0 for name in pictures if name not in together})


def groups(sizes: Mapping[str, int]) -> list[list[str]]:
    """Names in groups of at most MOST_LETTERS and MOST_BYTES; `sizes`: name -> bytes."""
    found: list[list[str]] = []
    letters = size = 0
    for name, own in sizes.items():
        letters, size = letters + len(name) + 4, size + own
        if not found or letters > MOST_LETTERS or size > MOST_BYTES:
            found.append([])
            letters, size = len(name) + 4, own
        found[-1].append(name)
    return found


def digest(pictures: Iterable[str]) -> str:
    """What a set of pictures is called: the same names give the same 12 digits."""
    return hashlib.sha256("\n".join(sorted(pictures)).encode()).hexdigest()[:12]


def page_name(digest: str) -> str:
    """The file of a page, in the folder of pictures."""
    return f"pictures-{digest}.html"


def pack(pictures: Mapping[str, bytes], title: str) -> bytes:
    """The page: each picture with its prompt and seed, as far as it says them."""
    return _PAGE.format(
        title=escape(title), figures="\n".join(_figure(n, d) for n, d in pictures.items())
    ).encode()


def unpack(page: bytes) -> dict[str, bytes]:
    """The pictures of a page, byte for byte. Raises StorageError where it is none of ours."""
    try:
        found = _PICTURE.findall(page.decode())
        pictures = {unescape(n): base64.b64decode(d, validate=True) for n, d in found}
    except ValueError as exc:
        raise StorageError(f"a page of pictures is damaged: {exc}") from exc
    if not pictures:
        raise StorageError("a page of pictures holds none")
    return pictures


def _figure(name: str, data: bytes) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    try:
        block = png.read(data).request.block
        said = f"{block.prompt}, seed {block.seed}"
    except ConfigError:  # no picture of ours: it is shown by its name
        said = name
    inside = base64.b64encode(data).decode()
    return (
        f'<figure id="{escape(name)}"><img alt="{escape(said)}" '
        f'src="data:{kind};base64,{inside}"><figcaption>{escape(said)}</figcaption></figure>'
    )
