"""What to do next, in order, with the command that does it."""

from collections.abc import Mapping
from dataclasses import dataclass

from teststrip.evidence.answer import sentence_name
from teststrip.evidence.confirmed import Confirmed
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Grid
from teststrip.evidence.importance import Importance
from teststrip.evidence.numbers import count
from teststrip.evidence.power import Spread, prompts_needed
from teststrip.evidence.ranking import BETTER, Ranked, Ranking
from teststrip.evidence.standing import Standing
from teststrip.evidence.variance import Variance

FEW_PROMPTS = 8
TOO_MANY = 5_000  # prompts: a difference that needs more is none that anybody would see


@dataclass(frozen=True)
class Advice:
    """One step. `what`: a sentence; `why`: its number; `command`: to copy, or empty."""

    what: str
    why: str
    command: str


def advise(
    *,
    facts: StudyFacts,
    ranking: Ranking,
    standings: Mapping[str, Standing],
    variance: Variance | None,
    importance: Importance,
    confirmed: Confirmed | None,
    grid: Grid,
) -> tuple[Advice, ...]:
    """The next steps that this study's evidence asks for, the most useful first."""
    steps = [
        _mend(facts, grid),
        _champion(facts, ranking, confirmed),
        _settle(ranking, standings, variance, grid),
        _more_prompts(ranking),
        _screen(facts, importance),
    ]
    return tuple(step for step in steps if step is not None)


def spread_of(variance: Variance | None) -> Spread | None:
    """What a study's variances say of the next one; None where they are unknown or 0.

    Where recipe x prompt and residual could not be told apart, all is taken as recipe x prompt:
    more seeds are then not promised to help.
    """
    found = {s.source: s.variance for s in variance.shares} if variance else {}
    interplay = found.get("recipe x prompt", found.get("recipe x prompt and residual"))
    if interplay is None or interplay + found.get("residual", 0.0) <= 0:
        return None
    return Spread(interplay**0.5, found.get("residual", 0.0) ** 0.5, "this study")


def _mend(facts: StudyFacts, grid: Grid) -> Advice | None:
    failed = int((grid.tried & ~grid.have).sum())
    if not failed:
        return None
    return Advice(
        f"Find out why {count(failed, 'image')} failed, then try them again.",
        f"{failed} of {int(grid.tried.sum())} images of the search have no score",
        f"teststrip study resume {facts.name} --retry-failed" if facts.source else "",
    )


def _champion(facts: StudyFacts, ranking: Ranking, confirmed: Confirmed | None) -> Advice | None:
    """Confirm, promote, or hold prompts out next time."""
    if ranking.baseline is None or len(ranking.rows) < 2:
        return None
    name = facts.name
    if confirmed is not None and confirmed.champion:
        row = next(r for r in confirmed.rows if r.a == confirmed.champion)
        return Advice(
            "Promote the confirmed recipe.",
            f"{confirmed.champion} is better on {count(row.prompts, 'prompt')} that the search "
            f"never saw, {count(row.images, 'image')}",
            f"teststrip study promote {name} --model-name {name}" if facts.source else "",
        )
    if confirmed is not None:
        return Advice(
            "Keep the baseline, or search elsewhere.",
            f"none of {count(len(confirmed.rows), 'leader')} was confirmed on "
            f"{count(confirmed.prompts, 'held-out prompt')}"
            if confirmed.rows
            else confirmed.note,
            "",
        )
    if ranking.best == ranking.baseline:
        return None
    if facts.held_out_prompts:
        return Advice(
            "Confirm the leaders on prompts and seeds that chose nothing.",
            f"{count(facts.held_out_prompts, 'prompt')} were held out for it",
            f"teststrip study confirm {name}" if facts.source else "",
        )
    return Advice(
        "Hold some prompts out next time, so that the winner can be confirmed.",
        "no prompts are held out" if facts.held_out_prompts == 0 else "no held-out images are here",
        f"teststrip study run {facts.source} --set name={name}-2 --set prompts.held_out=0.25"
        if facts.source
        else "",
    )


def _settle(
    ranking: Ranking,
    standings: Mapping[str, Standing],
    variance: Variance | None,
    grid: Grid,
) -> Advice | None:
    """How many prompts would tell the leader from the baseline, or from its nearest rival.

    The gap is the shrunk one where it is known: the gap as seen is the luckiest of many.
    """
    spread = spread_of(variance)
    best = ranking.row(ranking.best)
    if ranking.baseline and ranking.best != ranking.baseline and best.verdict != BETTER:
        rival, rival_id, gap = "the baseline", ranking.baseline, best.gain.mean
        family = ranking.comparisons
    else:
        other = _nearest(ranking)
        if other is None:
            return None
        rival, rival_id, gap = sentence_name(other), other.recipe_id, -other.lag.mean
        family = max(len(ranking.best_set) - 1, 1)
    shrunk = [_gain(standings.get(name)) for name in (best.recipe_id, rival_id)]
    if shrunk[0] is not None and shrunk[1] is not None:
        gap = shrunk[0] - shrunk[1]
    if spread is None or not gap > 0:
        return None
    seeds = max(round(grid.tried.sum(axis=1).max() / len(grid.prompt_ids)), 1)
    needed = prompts_needed(gap, spread, seeds, family)
    write = ranking.numbers
    if needed is None or needed > TOO_MANY:
        return Advice(
            f"Take either: {sentence_name(best)} and {rival} are too close to matter.",
            f"a difference of {write.plain(gap)} would need more than {TOO_MANY:,} prompts",
            "",
        )
    more = needed - len(grid.prompt_ids)
    if more <= 0:
        return None
    return Advice(
        f"{count(more, 'more prompt')} would settle {sentence_name(best)} against {rival}.",
        f"if they differ by {write.plain(gap)}, the best estimate, {needed:,} prompts x "
        f"{count(seeds, 'seed')} tell it in 80 % of studies; there are {len(grid.prompt_ids)}",
        "",
    )


def _gain(standing: Standing | None) -> float | None:
    """Shrunk gain over the reference; the reference's own is 0."""
    if standing is None:
        return None
    return 0.0 if standing.gain is None else standing.gain.mean


def _nearest(ranking: Ranking) -> Ranked | None:
    rivals = [r for r in ranking.rows if r.in_best_set and r.recipe_id != ranking.best]
    return max(rivals, key=lambda r: r.lag.mean, default=None)


def _more_prompts(ranking: Ranking) -> Advice | None:
    if ranking.prompts >= FEW_PROMPTS:
        return None
    return Advice(
        f"Use at least {FEW_PROMPTS} prompts.",
        f"there are {ranking.prompts}; more prompts say more than more seeds of the same ones",
        "",
    )


def _screen(facts: StudyFacts, importance: Importance) -> Advice | None:
    if not importance.refused or not facts.source:
        return None
    return Advice(
        "Run a screening design to see which parameters matter.",
        importance.refused.partition(". ")[0].rstrip("."),
        f"teststrip study run {facts.source} --set name={facts.name}-screen "
        "--set design.kind=sobol --set design.trials=64 --set race.kind=none "
        "--set 'space.dummy_a={float: [0, 1]}'",
    )
