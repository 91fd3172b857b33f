"""One recipe against another: the comparison, and where each of them is ahead."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.evidence.charts.scale import Mark, Scale, padded
from teststrip.evidence.compare import Comparison, compare

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

WIDTH, EXAMPLES, MOST_PROMPTS, MOST_CHOICES = 260, 3, 60, 300


@dataclass(frozen=True)
class Shot:
    """The same prompt and seed by both recipes; `lead`: `a` less `b`, positive favours `a`."""

    prompt: str
    seed: int
    a: str
    b: str
    score_a: float
    score_b: float
    lead: float
    what: str = ""


@dataclass(frozen=True)
class Prompt:
    """One prompt: the mean lead of `a` over `images` common images; `shot` is nearest to it."""

    prompt: str
    prompt_id: str
    lead: float
    images: int
    mark: Mark
    shot: Shot


@dataclass(frozen=True)
class Two:
    """`more`: prompts that are not listed. `chosen`: one of the two leads this study, so that these
    images, which chose it, flatter it."""

    found: Comparison
    prompts: tuple[Prompt, ...]
    more: int
    examples: tuple[Shot, ...]
    zero: float
    chosen: bool
    width: int = WIDTH


def two(analysis: "Analysis", a: str, b: str) -> Two:
    """Both ids are of the ranking. Raises ConfigError for one that is not in the grid."""
    found = compare(analysis.grid, a, b, analysis.facts.confidence)
    shots = _shots(analysis, a, b)
    by_prompt: dict[str, list[Shot]] = {}
    names: dict[str, str] = {}
    for prompt_id, shot in shots:
        by_prompt.setdefault(prompt_id, []).append(shot)
        names[prompt_id] = shot.prompt
    means = {p: float(np.mean([s.lead for s in own])) for p, own in by_prompt.items()}
    reach = max((abs(v) for v in means.values()), default=1.0) or 1.0
    scale = Scale(*padded(-reach, reach, 0.06), 4, WIDTH - 4)
    ordered = sorted(means, key=lambda p: -means[p])
    if len(ordered) > MOST_PROMPTS:  # both ends say most
        ordered = ordered[: MOST_PROMPTS // 2] + ordered[-MOST_PROMPTS // 2 :]
    return Two(
        found=found,
        prompts=tuple(
            Prompt(
                names[p],
                p,
                means[p],
                len(by_prompt[p]),
                _mark(means[p], scale),
                min(by_prompt[p], key=lambda s: abs(s.lead - means[p])),
            )
            for p in ordered
        ),
        more=len(means) - len(ordered),
        examples=_examples([shot for _, shot in shots]),
        zero=scale(0.0),
        chosen=analysis.ranking.best in (a, b),
    )


def choices(analysis: "Analysis", *kept: str | None) -> tuple[str, ...]:
    """Ids to choose from: the first 300 of the ranking, and those of `kept` that exist."""
    ids = [row.recipe_id for row in analysis.ranking.rows]
    first, known = ids[:MOST_CHOICES], set(ids)
    return (*first, *dict.fromkeys(k for k in kept if k in known and k not in set(first)))


def _shots(analysis: "Analysis", a: str, b: str) -> list[tuple[str, Shot]]:
    """(prompt id, both images) for each block that both have with a score."""
    table, facts = analysis.table, analysis.facts
    rows = table[(table["split"] == "search") & (table["status"] == "ok")]
    sides: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for name in (a, b):
        own = rows[rows["recipe_id"] == name].drop_duplicates(["prompt_id", "seed"])
        own = own[np.isfinite(own[facts.objective].astype(float))]
        wanted = own[["prompt_id", "prompt", "seed", "image_key", facts.objective]]
        sides[name] = {(r["prompt_id"], int(r["seed"])): r for r in wanted.to_dict("records")}
    out = []
    for block, mine in sides[a].items():
        other = sides[b].get(block)
        if other is None:
            continue
        score_a, score_b = float(mine[facts.objective]), float(other[facts.objective])
        lead = facts.sign * (score_a - score_b)
        keys = str(mine["image_key"]), str(other["image_key"])
        out.append((block[0], Shot(str(mine["prompt"]), block[1], *keys, score_a, score_b, lead)))
    return out


def _examples(shots: list[Shot]) -> tuple[Shot, ...]:
    """Where `a` is furthest ahead, the middle, where it is furthest behind."""
    if len(shots) < EXAMPLES:
        return tuple(shots)
    ordered = sorted(shots, key=lambda s: -s.lead)
    found = []
    for place, what in ((0, "A's best"), (len(ordered) // 2, "in the middle"), (-1, "B's best")):
        s = ordered[place]
        found.append(Shot(s.prompt, s.seed, s.a, s.b, s.score_a, s.score_b, s.lead, what))
    return tuple(found)


def _mark(lead: float, scale: Scale) -> Mark:
    x, zero = scale(lead), scale(0.0)
    return Mark(x=x, y=0, low=min(x, zero), high=max(x, zero), kind="a" if lead > 0 else "b")
