"""The short answer for a terminal: what was found, how sure that is, what to do next."""

from teststrip.evidence.analysis import Analysis
from teststrip.evidence.answer import answer, sentence_name
from teststrip.evidence.importance import Importance, Term
from teststrip.evidence.numbers import count, duration, percent, times

MOST_IN_SET = 5
MOST_TERMS = 6
MOST_STEPS = 3


def brief(analysis: Analysis) -> str:
    """Headline, best set, luck, variance, importance, price, next steps; every number with its n.

    What cannot be concluded is left out or says why.
    """
    said = answer(analysis)
    parts = [
        [said.headline, f"  {said.detail}", f"  {said.caveat}"],
        _best_set(analysis),
        _luck(analysis),
        _variance(analysis),
        _importance(analysis.importance),
        _price(analysis),
        _next(analysis),
    ]
    return "\n".join(line for part in parts for line in part)


def _best_set(analysis: Analysis) -> list[str]:
    ranking, facts = analysis.ranking, analysis.facts
    if ranking.finalists < 2:
        return []
    write = ranking.numbers
    best = f"{len(ranking.best_set)} of {count(ranking.finalists, 'finalist')}"
    lines = [f"Best set: {best} cannot be told from the best (at {percent(facts.confidence)})"]
    for recipe_id in ranking.best_set[:MOST_IN_SET]:
        row, more = ranking.row(recipe_id), analysis.standings.get(recipe_id)
        said = [f"{recipe_id}  {sentence_name(row)}: {write.plain(row.mean.mean)}"]
        if recipe_id == ranking.baseline:
            said.append("the baseline")
        elif ranking.baseline is not None and row.gain.known:
            span = write.span(row.gain, signed=True)
            said.append(f"{write.signed(row.gain.mean)} to the baseline ({span})")
        elif row.mean.known:
            said[0] += f" ({write.span(row.mean)})"
        if more is not None and more.p_best is not None:
            said.append(f"P(best) {percent(more.p_best)}")
        said.append(f"{count(row.images, 'image')} of {count(row.prompts, 'prompt')}")
        lines.append(f"  {', '.join(said)}")
    if len(ranking.best_set) > MOST_IN_SET:
        lines.append(f"  and {len(ranking.best_set) - MOST_IN_SET} more")
    return lines


def _luck(analysis: Analysis) -> list[str]:
    found = analysis.luck
    if found is None or analysis.ranking.finalists < 2:
        return []
    line = (
        "Luck: one image per setting would have picked the best "
        f"{times(found.picks_best, found.blocks)} ({percent(found.by_chance)} by drawing lots)"
    )
    if found.overstated is not None:
        line += f" and overstated its winner by {analysis.ranking.numbers.plain(found.overstated)}"
    return [f"{line}; {count(found.recipes, 'recipe')} on {count(found.blocks, 'block')}"]


def _variance(analysis: Analysis) -> list[str]:
    found = analysis.variance
    if found is None:
        return []
    shares = [f"{s.source} {percent(s.share)}{_range(s.low, s.high)}" for s in found.shares]
    lines = [
        f"Variance of a single image: {', '.join(shares)}; {count(found.images, 'image')} of "
        f"{count(found.prompts, 'prompt')}"
    ]
    if found.now is not None and found.futures:
        write, more = analysis.ranking.numbers, found.futures[0]
        lines.append(
            f"  {more.prompts - found.now.prompts} more prompts would narrow the interval of a "
            f"difference from +-{write.plain(found.now.half)} to +-{write.plain(more.half)}"
        )
    return lines


def _importance(found: Importance) -> list[str]:
    if found.refused:
        return [f"Importance: none. {found.refused}"]
    size = (
        f"{count(found.recipes, 'recipe')} on {count(found.blocks, 'block')} of "
        f"{count(found.prompts, 'prompt')}"
    )
    shown = [term for term in (*found.mains, *found.pairs) if term.shown]
    lines = [f"Importance (share of the differences between recipes; {size}):"]
    lines += [f"  {_term(term)}" for term in shown[:MOST_TERMS]]
    without = [t.name for t in found.mains if not t.shown and not t.is_dummy]
    if without:
        band = max(t.band for t in found.mains if not t.shown)
        lines.append(
            f"  no evidence of effect: {', '.join(without)} (chance alone reaches {percent(band)})"
        )
    return lines if len(lines) > 1 else [*lines, "  no parameter is above its null band"]


def _term(term: Term) -> str:
    share = term.share
    return f"{term.name} {percent(share.mean)}{_range(share.low, share.high)}"


def _price(analysis: Analysis) -> list[str]:
    front, ranking = analysis.front, analysis.ranking
    if front.cheapest is None or front.cheapest == ranking.best or front.delta is None:
        return []
    point = next(p for p in front.points if p.recipe_id == front.cheapest)
    best = next((p for p in front.points if p.recipe_id == ranking.best), None)
    if best is None or best.cost <= point.cost:
        return []
    timed = front.cost == "seconds"
    cost, most = (
        duration(cost) if timed else f"{cost:.0f} model calls" for cost in (point.cost, best.cost)
    )
    return [
        f"Cheaper: {front.cheapest} ({sentence_name(ranking.row(front.cheapest))}) takes {cost} "
        f"instead of {most} per image and is not worse by more than "
        f"{ranking.numbers.plain(front.delta)}; {count(front.images, 'image')} each of "
        f"{count(front.prompts, 'prompt')}"
    ]


def _next(analysis: Analysis) -> list[str]:
    lines = []
    for step in analysis.advice[:MOST_STEPS]:
        lines.append(f"Next: {step.what} ({step.why})")
        if step.command:
            lines.append(f"  {step.command}")
    return lines


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({percent(low)} to {percent(high)})"
