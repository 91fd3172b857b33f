"""Not these images but their recipes: what all blocks that both were shown say."""

from collections.abc import Sequence
from dataclasses import dataclass

from teststrip.errors import ConfigError, StudyError
from teststrip.evidence.analysis import Analysis
from teststrip.evidence.compare import Comparison, compare
from teststrip.evidence.numbers import Numbers, count, percent
from teststrip.studio.compare.shots import Shot


@dataclass(frozen=True)
class Versus:
    """A recipe against the first image's. `text`: the finding with its n and interval.

    `found`: None where nothing can be said, `text` then says why.
    """

    letter: str
    first: str
    recipes: tuple[str, str]
    text: str
    verdict: str
    found: Comparison | None
    write: Numbers
    confidence: str
    chosen: bool = False

    @property
    def wins(self) -> str:
        """Share of the common blocks on which it is ahead, ties half."""
        return percent(self.found.wins) if self.found else ""


def versus(analysis: Analysis, shots: Sequence[Shot]) -> list[Versus]:
    """Each other recipe against that of the first image; none where all are of one recipe."""
    there = [shot for shot in shots if shot.row is not None]
    if len(there) < 2:
        return []
    first = there[0]
    own = str(first.told["recipe_id"])
    out: dict[str, Versus] = {}
    for shot in there[1:]:
        other = str(shot.told["recipe_id"])
        if other != own and other not in out:
            out[other] = _one(analysis, first.letter, own, shot.letter, other)
    return list(out.values())


def _one(analysis: Analysis, first: str, own: str, letter: str, other: str) -> Versus:
    sure = percent(analysis.facts.confidence)
    found: Comparison | None = None
    try:
        found = compare(analysis.grid, other, own, analysis.facts.confidence)
        write = Numbers.of([found.gain])
        text = _text(found, write, letter, first, sure)
        if not found.prompts:
            found = None
    except (ConfigError, StudyError) as exc:
        write, text = Numbers(3), f"Nothing can be said of {letter} against {first}: {exc}."
    return Versus(
        letter=letter,
        first=first,
        recipes=(own, other),
        text=text,
        verdict=found.verdict if found else "",
        found=found,
        write=write,
        confidence=sure,
        chosen=analysis.ranking.best in (own, other),
    )


def _text(found: Comparison, write: Numbers, letter: str, first: str, sure: str) -> str:
    if not found.prompts:
        return f"{letter} and {first} share no block with a score, so nothing can be said."
    size = f"{count(found.images, 'block')} of {count(found.prompts, 'prompt')}"
    if not found.gain.known:
        gain = write.signed(found.gain.mean)
        return f"{letter} against {first}: {gain} on {size}; one unit has no interval."
    how = {
        "better": f"{letter} is better than {first}",
        "worse": f"{letter} is worse than {first}",
        "not distinguishable": f"{letter} and {first} are not distinguishable",
    }.get(found.verdict, f"{letter} against {first}: {found.verdict}")
    span = write.span(found.gain, signed=True)
    return f"{how}: {write.signed(found.gain.mean)} ({sure} interval {span}) on {size}."
