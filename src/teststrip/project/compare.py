"""Two outputs of one stage: the same bytes, or how far apart, and whether that is accepted.

What a GPU or another processor computes differs in the last digits, and training makes more of
them. Hence a tolerance for each kind of file, measured (docs/project-verify.md), stated in every
answer. Other kinds of files have none: their bytes are the same or they differ.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PSNR_DB = 30.0
"""Pictures: least peak signal-to-noise ratio in dB; below about 30 people see a difference."""
WEIGHTS = 0.08
"""Weights: largest L2 norm of the difference, relative to that of the weights.

200 steps with one thread against two: 0.038; 100 steps more: 0.13."""
RELATIVE, ABSOLUTE = 0.02, 0.005
"""Numbers in text: accepted if they differ by no more than one of the two."""

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_TEXTS = frozenset({".json", ".jsonl", ".csv", ".md", ".html", ".svg", ".txt", ".yaml"})
_EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+")
# Hashes name what lies beside them and is compared itself; then numbers, then all else.
_TOKEN = re.compile(
    r"(?P<hash>(?<![0-9a-zA-Z])[0-9a-f]{12,64}(?![0-9a-zA-Z]))"
    r"|(?P<number>[-+]?(?:\d+\.\d*|\.?\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<word>[A-Za-z]+|[^-+.\dA-Za-z]+|.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Difference:
    """How two files differ: in words, with the tolerance; `size` orders those of one kind."""

    kind: str
    text: str
    accepted: bool
    size: float = math.inf


def compare(then: Path, now: Path) -> Difference | None:
    """None where the bytes are the same. Raises OSError where one cannot be read."""
    if _same_bytes(then, now):
        return None
    suffix = then.suffix.lower()
    try:
        if suffix in _PICTURES:
            return _pictures(then, now)
        if suffix == ".safetensors":
            return _weights(then, now)
        if suffix in _TEXTS:
            return _texts(then.read_text(encoding="utf-8"), now.read_text(encoding="utf-8"))
    except (ValueError, SyntaxError) as exc:  # damaged, or not of the kind that its name says
        return Difference("bytes", f"other bytes, and one cannot be read: {exc}", accepted=False)
    sizes = f"{then.stat().st_size} and {now.stat().st_size} bytes"
    return Difference("bytes", f"other bytes ({sizes}); no tolerance for {suffix!r}", False)


def _same_bytes(then: Path, now: Path) -> bool:
    if then.stat().st_size != now.stat().st_size:
        return False
    with then.open("rb") as one, now.open("rb") as other:
        while block := one.read(1 << 20):
            if block != other.read(len(block)):
                return False
    return True


def _pictures(then: Path, now: Path) -> Difference:
    import numpy as np
    from PIL import Image

    with Image.open(then) as one, Image.open(now) as other:
        if one.size != other.size or one.mode != other.mode:
            shapes = " and ".join(f"{x.mode} {x.width}x{x.height}" for x in (one, other))
            return Difference("picture", f"pictures of {shapes}", accepted=False)
        apart = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    if not apart.any():
        return Difference("picture", "same pixels, other text or packing in the file", True, 0.0)
    psnr = 10 * math.log10(255**2 / float(np.mean(apart**2)))
    text = (
        f"pixels differ by at most {apart.max():.0f} of 255, PSNR {psnr:.1f} dB "
        f"(accepted from {PSNR_DB:.0f} dB)"
    )
    return Difference("picture", text, psnr >= PSNR_DB, 1 / psnr)


def _weights(then: Path, now: Path) -> Difference:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(then, "pt") as one, safe_open(now, "pt") as other:
            before, after = set(one.keys()), set(other.keys())
            if before != after:
                names = ", ".join(sorted(before ^ after)[:3])
                return Difference("weights", f"not the same tensors: {names}", accepted=False)
            norm = apart = 0.0
            for name in sorted(before):
                a: Any = one.get_tensor(name).to(torch.float64)
                b: Any = other.get_tensor(name).to(torch.float64)
                if a.shape != b.shape:
                    text = f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
                    return Difference("weights", text, accepted=False)
                norm += float((a * a).sum())
                apart += float(((a - b) ** 2).sum())
    except SafetensorError as exc:
        raise ValueError(str(exc)) from exc
    if apart == 0.0:
        return Difference("weights", "same weights, other text in the file", True, 0.0)
    relative = math.sqrt(apart / norm) if norm else math.inf
    text = f"weights differ by {relative:.2g} of their norm (accepted up to {WEIGHTS:g})"
    return Difference("weights", text, relative <= WEIGHTS, relative)


def _texts(then: str, now: str) -> Difference:
    """Words must be the same, numbers near; embedded pictures lie beside the text as files."""
    one, other = (
        [(m.lastgroup, m[0]) for m in _TOKEN.finditer(_EMBEDDED.sub("data:", text))]
        for text in (then, now)
    )
    worst, pair = 0.0, ("", "")
    for (kind, a), (kind_now, b) in zip(one, other, strict=False):
        if kind == kind_now == "number" and a != b:
            apart = abs(float(a) - float(b))
            size = max(abs(float(a)), abs(float(b)))
            # 1 is the most that is accepted
            excess = min(apart / (RELATIVE * size) if size else 0.0, apart / ABSOLUTE)
            if _whole(a) and _whole(b):
                excess = math.inf  # counts, seeds and steps do not differ by rounding
            if excess > worst:
                worst, pair = excess, (a, b)
        elif (kind != kind_now) or (kind == "word" and a != b):
            return Difference("text", f"{a.strip()[:40]!r} became {b.strip()[:40]!r}", False)
    if len(one) != len(other):
        return Difference("text", "one has more to say than the other", accepted=False)
    if not worst:
        return Difference("text", "only hashes of other files or spellings differ", True, 0.0)
    text = (
        f"{pair[0]} became {pair[1]} (numbers are accepted within {RELATIVE:.0%} or {ABSOLUTE:g}, "
        "whole ones if they are the same)"
    )
    return Difference("text", text, worst <= 1, worst)


def _whole(number: str) -> bool:
    return number.lstrip("+-").isdigit()
