"""Tensors by key: in memory up to a bound, and on disk as safetensors, whole or not there."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from teststrip.errors import StorageError
from teststrip.files import write_atomic
from teststrip.recipe import canonical_json

MOST_BYTES = 256 * 2**20
Tensors = Mapping[str, torch.Tensor]
log = logging.getLogger(__name__)


def key_of(*facts: object) -> str:
    """The name of what these facts decide: 40 hex digits of their SHA-256."""
    return hashlib.sha256(canonical_json(list(facts)).encode()).hexdigest()[:40]


class TensorStore:
    """Keeps tensors on the CPU by content key. Without a folder, in memory only.

    The last used `most_bytes` stay in memory. Several processes may share a folder: files are
    written whole, and two that write one key write the same numbers.
    """

    def __init__(self, folder: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._bytes = 0
        self._memory: OrderedDict[str, Tensors] = OrderedDict()

    def find(self, key: str, names: tuple[str, ...]) -> Tensors | None:
        """The tensors of `key`, or None if they are not there, damaged, or not all of `names`."""
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        if self._folder is None:
            return None
        path = self._path(self._folder, key)
        try:
            found = safetensors.torch.load(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError) as exc:
            log.warning("cache entry %s cannot be read and is made again: %s", path, exc)
            return None
        if set(found) != set(names) or not all(t.isfinite().all() for t in found.values()):
            log.warning("cache entry %s does not hold what it should and is made again", path)
            return None
        self._remember(key, found)
        return found

    def has(self, key: str) -> bool:
        """True where there is an entry; whether it is whole shows when it is read."""
        return key in self._memory or (
            self._folder is not None and self._path(self._folder, key).is_file()
        )

    def put(self, key: str, tensors: Tensors) -> None:
        """Keep tensors. Where the disk refuses them (full, read-only), in memory only."""
        kept = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        self._remember(key, kept)
        if self._folder is None:
            return
        try:
            write_atomic(self._path(self._folder, key), safetensors.torch.save(kept))
        except StorageError as exc:
            # A cache changes the speed only, so training goes on.
            log.warning("the cache is kept in memory from here on: %s", exc)
            self._folder = None

    def _remember(self, key: str, tensors: Tensors) -> None:
        old = self._memory.pop(key, {})
        self._memory[key] = tensors
        self._bytes += _bytes(tensors) - _bytes(old)
        while self._bytes > self._most_bytes and len(self._memory) > 1:
            self._bytes -= _bytes(self._memory.popitem(last=False)[1])

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.safetensors"


def _bytes(tensors: Tensors) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())
