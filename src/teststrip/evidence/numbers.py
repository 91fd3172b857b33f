"""How numbers are written: one number of decimals for all scores of a study, a true minus."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from teststrip.evidence.interval import Interval

MINUS = "−"


@dataclass(frozen=True)
class Numbers:
    """Writes scores with the decimals that their uncertainty deserves."""

    decimals: int

    @classmethod
    def of(cls, intervals: Iterable[Interval]) -> "Numbers":
        """Decimals that show the typical half-width with two digits (0.0123 -> 3, 4.1 -> 1)."""
        halves = sorted(
            (i.high - i.low) / 2
            for i in intervals
            if i.low is not None and i.high is not None and i.high > i.low
        )
        if not halves:
            return cls(3)
        typical = halves[len(halves) // 2]
        return cls(min(max(1 - math.floor(math.log10(typical)), 0), 6))

    def plain(self, value: float | None) -> str:
        """`0.312`; an en dash for no number."""
        if value is None or not math.isfinite(value):
            return "–"
        return self._zero(f"{value:.{self.decimals}f}").replace("-", MINUS)

    def signed(self, value: float | None) -> str:
        """`+0.012` or `−0.012`."""
        text = self.plain(value)
        positive = value is not None and value > 0 and float(text.replace(MINUS, "-")) > 0
        return f"+{text}" if positive else text

    def span(self, value: Interval, signed: bool = False) -> str:
        """`0.301 to 0.323`; empty where there is no interval."""
        write = self.signed if signed else self.plain
        return "" if value.low is None else f"{write(value.low)} to {write(value.high)}"

    def half(self, value: Interval) -> str:
        """`± 0.011`; empty where there is no interval."""
        if value.low is None or value.high is None:
            return ""
        return f"± {self.plain((value.high - value.low) / 2)}"

    def _zero(self, text: str) -> str:
        return text.lstrip("-") if not text.strip("-0.") else text


def percent(share: float | None) -> str:
    """`64 %`; an en dash for no number. What is not all or nothing is never shown as such."""
    if share is None or not math.isfinite(share):
        return "–"
    whole = round(100 * share)
    if whole == 0 and share > 0:
        return "< 1 %"
    if whole == 100 and share < 1:
        return "> 99 %"
    return f"{whole} %".replace("-", MINUS)


def times(share: float, tries: int) -> str:
    """`3 of 4 times`; in per cent where ties made it no whole number."""
    hits = share * tries
    if abs(hits - round(hits)) < 1e-9:
        return f"{round(hits)} of {tries} times" if tries > 1 else ("yes" if hits else "no")
    return f"{percent(share)} of the time"


def duration(seconds: float | None) -> str:
    """`1 h 05 min`, `2 min 31 s`, `4.2 s`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def seconds(value: float | None) -> str:
    """Two digits, no unit: `0.034`, `1.1`, `75`."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def count(number: int, noun: str) -> str:
    """`1 image`, `no images`, `12 images`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def show(value: Any) -> str:
    """A setting as a reader wants it: short numbers, `none` for nothing."""
    if value is None or value in ("", "[]"):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
