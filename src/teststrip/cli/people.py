"""`teststrip study votes`: what people prefer, and which scorer agrees with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name
from teststrip.wire import settings
from teststrip.wire.people import Votes, votes_and_ranking

if TYPE_CHECKING:
    from teststrip.evidence.interval import Interval
    from teststrip.evidence.people import People

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Votes to add: .csv, .json or .jsonl."),
]
MOST_LINES = 20


def votes(name: Name, file: File = None, as_json: Json = False) -> None:
    """Add blind votes on a study's image pairs, and show the ranking that all its votes give.

    FILE has a vote on each line: prompt_id (or prompt), seed, left, right (recipe ids, or their
    first letters), choice (left, right, tie or skip) and, if you like, rater and id. Adding a
    file twice changes nothing.

    \b
    Examples:
      teststrip study votes first votes.csv
      teststrip study votes first --json
    """
    found = votes_and_ranking(name, settings().home, file)
    verbs.show(as_dict(name, found), as_json, as_text(name, found, file))


def as_dict(name: str, found: Votes) -> dict[str, Any]:
    """For --json: what is not known is null."""
    people, agreement = found.people, found.agreement
    data: dict[str, Any] = {
        "study": name,
        "votes": found.votes,
        "added": found.added,
        "ranking": None,
        "scorers": [],
        "by_eye": agreement.by_eye if agreement else "",
    }
    if people is not None:
        data["ranking"] = {
            "recipes": [
                {"recipe_id": s.recipe_id, "settings": found.names.get(s.recipe_id, "")}
                | {"votes": s.votes, "beats_average": s.beats_average}
                | _interval("strength", s.strength)
                for s in people.strengths
            ],
            "votes": people.votes,
            "prompts": people.prompts,
            "raters": people.raters,
            "ties": people.ties,
            **_interval("left_bias", people.left_bias),
            "is_biased": people.is_biased,
            "unconnected": list(people.unconnected),
            "repeats": people.repeats,
            "consistent": people.consistent,
            "confidence": people.confidence,
            "note": people.note,
        }
    if agreement is not None:
        data["scorers"] = [
            {"score": s.column, "votes": s.votes} | _interval("agrees", s.with_votes)
            for s in agreement.scorers
        ]
    return data


def as_text(name: str, found: Votes, file: Path | None) -> str:
    """For people."""
    from teststrip.evidence.numbers import count

    lines = []
    if file is not None:
        lines.append(f"{name}: {found.added} new of {file}, {found.votes} in all")
    people = found.people
    if people is None:
        return f"{name}: no votes yet; add some with: teststrip study votes {name} FILE"
    lines.append(
        f"{name}: what people prefer, by {count(people.votes, 'vote')} on "
        f"{count(people.prompts, 'prompt')} from {count(people.raters, 'rater')}"
    )
    lines.append(
        f"  {'recipe':14} {'log odds':>8}  {'interval':17} {'wins':>5} {'votes':>6}  settings"
    )
    lines += [
        f"  {s.recipe_id:14} {s.strength.mean:+8.2f}  {_span(s.strength):17} "
        f"{100 * s.beats_average:4.0f}% {s.votes:6}  {found.names.get(s.recipe_id, '')}"
        for s in people.strengths[:MOST_LINES]
    ]
    if len(people.strengths) > MOST_LINES:
        lines.append(f"  and {len(people.strengths) - MOST_LINES} more (--json has all)")
    lines += [
        "  log odds against the average recipe, "
        f"{100 * people.confidence:g} % interval by prompt; wins against it, ties half",
        *(f"  {line}" for line in _checks(people)),
    ]
    if found.agreement is not None and found.agreement.by_eye:
        lines.append(f"  scorers: {found.agreement.by_eye}")
    return "\n".join(lines)


def _checks(people: "People") -> list[str]:
    clear = [s for s in people.strengths if s.strength.low is not None and s.strength.low > 0]
    bias = f"{people.left_bias.mean:+.2f} log odds"
    if people.left_bias.known:
        bias += f" ({_span(people.left_bias)})"
    lines = [
        f"better than the average recipe: {len(clear) or 'none'} of {len(people.strengths)}",
        f"ties: {100 * people.ties:.0f} % of {people.votes}",
        f"left side: {bias}, "
        + ("taken off above" if people.is_biased else "not distinguishable from 0"),
    ]
    if people.consistent is not None:
        lines.append(
            f"judged alike again: {100 * people.consistent:.0f} % of {people.repeats} pairs"
        )
    if people.unconnected:
        lines.append(f"not linked by votes and left out: {', '.join(people.unconnected[:5])}")
    return [*lines, *([people.note] if people.note else [])]


def _interval(name: str, value: "Interval | None") -> dict[str, Any]:
    if value is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high", f"{name}_prompts"))
    return {
        name: value.mean,
        f"{name}_low": value.low,
        f"{name}_high": value.high,
        f"{name}_prompts": value.units,
    }


def _span(value: "Interval") -> str:
    if value.low is None or value.high is None:
        return "no interval"
    return f"{value.low:+.2f} to {value.high:+.2f}"
