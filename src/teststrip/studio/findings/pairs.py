"""Two parameters together: any pair that a person asks for, the strongest one first."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.evidence.charts.curves import interaction_chart
from teststrip.evidence.charts.scale import Chart
from teststrip.evidence.effects import Interaction, interaction
from teststrip.evidence.importance import Term

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis


@dataclass(frozen=True)
class Together:
    """`fields`: those to choose from. `term`: what importance says of the pair, if it does."""

    fields: tuple[str, ...]
    found: Interaction
    chart: Chart
    term: Term | None


def together(analysis: "Analysis", asked: tuple[str, str] | None) -> Together | None:
    """The pair that was asked for, or else the strongest; None with fewer than two parameters."""
    numeric = {effect.field: effect.numeric for effect in analysis.effects}
    fields = tuple(numeric)
    if len(fields) < 2:
        return None
    if asked is not None and asked[0] != asked[1] and set(asked) <= set(fields):
        first, second = asked
    else:
        shown = (t.fields for t in analysis.importance.pairs if t.shown)
        pair = next((f for f in shown if set(f) <= set(fields)), fields[:2])
        first, second = sorted(pair, key=lambda field: not numeric[field])  # numbers on the axis
    found = interaction(analysis.table, analysis.facts, (first, second), analysis.grid)
    if not any(gain for row in found.gain for gain in row):
        return None
    return Together(
        fields=fields,
        found=found,
        chart=interaction_chart(found, analysis.ranking.numbers),
        term=next((t for t in analysis.importance.pairs if set(t.fields) == {first, second}), None),
    )
