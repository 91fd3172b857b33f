"""`study compare`: two recipes of a study, head to head."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError

if TYPE_CHECKING:
    from teststrip.evidence.compare import Comparison
    from teststrip.evidence.facts import StudyFacts


@dataclass(frozen=True)
class HeadToHead:
    """Two recipes on the blocks that both have. `names`: their settings in words.

    `chosen`: one of them leads the study that these images belong to, so that its lead is
    flattered.
    """

    found: "Comparison"
    facts: "StudyFacts"
    names: dict[str, str]
    chosen: bool

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        from dataclasses import asdict

        from teststrip.evidence.summary import json_safe

        safe: dict[str, Any] = json_safe(
            asdict(self.found)
            | {
                "objective": self.facts.objective,
                "settings": self.names,
                "confidence": self.facts.confidence,
                "chosen_on_these_images": self.chosen,
            }
        )
        return safe

    def __str__(self) -> str:
        from teststrip.evidence.numbers import Numbers, count, percent

        c, write = self.found, Numbers.of([self.found.gain])
        a, b = (f"{i} ({self.names[i]})" if self.names[i] else i for i in (c.a, c.b))
        if not c.prompts:
            return f"{a} and {b} share no block with a score, so nothing can be said."
        sure = percent(self.facts.confidence)
        size = f"{count(c.images, 'block')} of {count(c.prompts, 'prompt')}"
        if not c.gain.known:
            return (
                f"{a} against {b}: {write.signed(c.gain.mean)} on {size}; one unit has no interval."
            )
        lines = [
            f"{a} is {_verdict(c.verdict)} {b}.",
            f"  difference         {write.signed(c.gain.mean)} in {self.facts.objective}, positive"
            f" is good ({sure} interval {write.span(c.gain, signed=True)})",
            f"  p                  {c.p_t:.3g} paired t, {c.p_wilcoxon:.3g} Wilcoxon, "
            f"{c.p_permutation:.3g} permutation",
            f"  wins               {percent(c.wins)} of {size}; behind on {c.loses_on} of "
            f"{count(c.prompts, 'prompt')}",
        ]
        if c.effect_size is not None:
            lines.append(f"  effect size        {c.effect_size:.2f} (mean over spread of prompts)")
        lines.append("  p is for this comparison alone: of many, some come out small by chance")
        if self.chosen:
            lines.append("  one of them was chosen on these images, which flatters it")
        return "\n".join(lines)


def compare_recipes(name: str, a: str, b: str | None, home: Path) -> HeadToHead:
    """Compare `a` with `b` (the baseline by default) on a study's search images.

    Ids may be shortened to a start that only one has. The study is here, or in MLflow. Raises
    ConfigError for an id that is not there, or a recipe against itself.
    """
    from teststrip.evidence.answer import sentence_name
    from teststrip.evidence.compare import compare
    from teststrip.evidence.grid import build
    from teststrip.evidence.ranking import rank
    from teststrip.wire.analysing import shortened
    from teststrip.wire.tables import table_of

    study = table_of(name, home)
    grid = build(study.table, study.facts)
    if b is None and study.facts.baseline is None:
        raise ConfigError(f"study {name!r} has no baseline; name the other recipe too")
    first = shortened(grid.recipes, a, "recipe")
    second = shortened(grid.recipes, b, "recipe") if b else str(study.facts.baseline)
    if first == second:
        raise ConfigError(f"recipe {first!r} stands against itself; name two different ones")
    ranking = rank(study.table, study.facts, grid)
    names = {i: sentence_name(ranking.row(i)) for i in (first, second)}
    return HeadToHead(
        found=compare(grid, first, second, study.facts.confidence),
        facts=study.facts,
        names={i: "" if text.startswith("recipe ") else text for i, text in names.items()},
        chosen=ranking.best in (first, second),
    )


def _verdict(verdict: str) -> str:
    return {
        "better": "better than",
        "worse": "worse than",
        "not distinguishable": "not distinguishable from",
    }.get(verdict, f"({verdict}) against")
