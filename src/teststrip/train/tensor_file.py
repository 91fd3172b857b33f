"""safetensors whose bytes depend on their content alone: the header is sorted.

The library keeps a file's metadata in a map whose order is drawn anew in each process. Two entries
made two different files of one adapter (measured), and its SHA-256 named neither for good.
"""

import json
from collections.abc import Mapping

import safetensors.torch
from torch import Tensor

_WORD = 8  # bytes: the header's length stands in as many, and tensors begin at a multiple


def tensor_bytes(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> bytes:
    """A safetensors file of `tensors`, none of which may share memory; `notes`: its metadata."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    data = safetensors.torch.save(whole, dict(notes))
    begin = _WORD + int.from_bytes(data[:_WORD], "little")
    header = json.loads(data[_WORD:begin])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _WORD)
    return len(text).to_bytes(_WORD, "little") + text + data[begin:]
