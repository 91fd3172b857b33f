"""Pairs that are worth a look, offered where nothing was chosen yet."""

# ruff: noqa: S608 - SQL holds the index's own table names and checked columns; values go by `?`

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.evidence.analysis import Analysis
from teststrip.studio.compare.shots import known, quoted
from teststrip.studio.index import Entry, Index, Score
from teststrip.studio.index.derive import scorer_of

Row = dict[str, Any]
MOST_DISPUTED = 600  # images that scorers disagree on, among which pairs are sought
MOST_PAIRS = 3


@dataclass(frozen=True)
class Pair:
    """Two images of one prompt and seed. `caption`: why these two."""

    keys: tuple[str, str]
    caption: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Offer:
    """Pairs of one kind. `note`: what they are, and what they are not."""

    title: str
    note: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Roles:
    """Recipe ids by what they are in the study; None where there is none (yet)."""

    best: str | None
    baseline: str | None
    median: str | None

    def named(self) -> list[tuple[str, str]]:
        """(role, recipe id), each recipe once."""
        found: dict[str, str] = {}
        for role in ("best", "baseline", "median"):
            recipe = getattr(self, role)
            if recipe is not None:
                found.setdefault(recipe, role)
        return [(role, recipe) for recipe, role in found.items()]


def roles(index: Index, entry: Entry, analysis: Callable[[str], Analysis]) -> Roles:
    """As the evidence has it; by mean lead over the blocks where there is no evidence yet."""
    try:
        ranking = analysis(entry.name).ranking
    except (ConfigError, StorageError, StudyError):
        rows = index.query(
            f"SELECT recipe_id FROM {index.table(entry.name)} WHERE lead IS NOT NULL "
            f"GROUP BY recipe_id ORDER BY avg(lead) DESC, recipe_id"
        )
        ids = [str(row["recipe_id"]) for row in rows]
        middle = ids[len(ids) // 2] if len(ids) > 2 else None
        return Roles(best=ids[0] if ids else None, baseline=entry.baseline, median=middle)
    return Roles(best=ranking.best, baseline=ranking.baseline, median=ranking.median)


def offers(index: Index, entry: Entry, found: Roles) -> list[Offer]:
    """Best against baseline, best against median, and where the scorers disagree."""
    out = []
    for role, other in (("baseline", found.baseline), ("median recipe", found.median)):
        if found.best and other and other != found.best:
            pairs = _matched(index, entry, found.best, other)
            note = "Same prompt and seed: where it gains most, a typical one, where it gains least."
            out.append(Offer(f"Best against {role}", note, pairs))
    disputed = _disputed(index, entry)
    note = "Same prompt and seed: the objective favours the first, the other scorers the second."
    out.append(Offer("Where the scorers disagree most", note, disputed))
    return [offer for offer in out if offer.pairs]


def _matched(index: Index, entry: Entry, a: str, b: str) -> tuple[Pair, ...]:
    table = index.table(entry.name)
    sign = 1 if entry.higher_is_better else -1
    column = quoted(entry.objective) if entry.objective else None
    gap = f"{sign} * (a.{column} - b.{column})" if column else "0"
    rows = index.query(
        f"SELECT a.image_key AS first, b.image_key AS second, a.prompt, a.seed, {gap} AS gap "
        f"FROM {table} a JOIN {table} b ON a.prompt_id = b.prompt_id AND a.seed = b.seed "
        f"AND a.split = b.split WHERE a.recipe_id = ? AND b.recipe_id = ? "
        f"AND a.status = 'ok' AND b.status = 'ok' AND isfinite(gap) ORDER BY gap DESC, a.image_id",
        [a, b],
    )
    if len(rows) < MOST_PAIRS:
        named = [(row, "same prompt and seed") for row in rows]
    else:
        last = "gains least" if rows[-1]["gap"] >= 0 else "loses most"
        words = ("gains most", "typical", last)
        named = list(zip((rows[0], rows[len(rows) // 2], rows[-1]), words, strict=True))
    return tuple(_pair(row, f"{word}: {_gap(row['gap'])}" if column else "") for row, word in named)


def _gap(value: float) -> str:
    return f"{value:+.3g}".replace("-", "\u2212")


def _pair(row: Row, caption: str) -> Pair:
    keys = (str(row["first"]), str(row["second"]))
    return Pair(keys, caption, str(row["prompt"]), int(row["seed"]))


def _disputed(index: Index, entry: Entry) -> tuple[Pair, ...]:
    """In one block, the image that the objective favours against the one that the others do."""
    objective = next((s for s in entry.scores if s.column == entry.objective), None)
    own = scorer_of(entry.objective or "")
    others = [s for s in entry.scores if scorer_of(s.column) != own and _ranged(s)]
    if objective is None or not _ranged(objective) or not others:
        return ()
    columns = ", ".join(quoted(s.column) for s in (objective, *others))
    rows = index.query(
        f"SELECT image_key, prompt_id, prompt, seed, {columns} FROM {index.table(entry.name)} "
        f"WHERE status = 'ok' AND disagreement IS NOT NULL AND seed IS NOT NULL "
        f"ORDER BY disagreement DESC, image_id LIMIT {MOST_DISPUTED}"
    )
    blocks: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        blocks.setdefault((row["prompt_id"], row["seed"]), []).append(row)
    found = [_contrary(block, objective, others) for block in blocks.values()]
    best = sorted((f for f in found if f is not None), key=lambda f: -f[0])
    return tuple(pair for _, pair in best[:MOST_PAIRS])


def _ranged(score: Score) -> bool:
    return score.low is not None and score.high is not None and score.high > score.low


def _share(row: Row, score: Score) -> float:
    """Where a score stands in its range, 0 worst to 1 best; the middle where there is none."""
    value, low, high = row[score.column], score.low, score.high
    if known(value) is None or low is None or high is None:
        return 0.5
    share = (float(value) - low) / (high - low)
    return share if score.higher_is_better else 1 - share


def _contrary(
    block: Sequence[Row], objective: Score, others: Sequence[Score]
) -> tuple[float, Pair] | None:
    if len(block) < 2:
        return None
    own = {id(r): _share(r, objective) for r in block}
    rest = {id(r): sum(_share(r, s) for s in others) / len(others) for r in block}
    a = max(block, key=lambda r: own[id(r)] - rest[id(r)])
    b = min(block, key=lambda r: own[id(r)] - rest[id(r)])
    ahead, behind = own[id(a)] - own[id(b)], rest[id(b)] - rest[id(a)]
    if ahead <= 0 or behind <= 0:
        return None
    row = a | {"first": a["image_key"], "second": b["image_key"]}
    caption = f"{objective.column}: {a[objective.column]:.3g} against {b[objective.column]:.3g}"
    caption = caption.replace("-", "\u2212")
    return ahead + behind, _pair(row, caption)


def partners(index: Index, entry: Entry, row: Row, found: Roles) -> list[tuple[str, str]]:
    """(role, image key): what to set beside an image, of its own prompt and seed."""
    out = []
    for role, recipe in found.named():
        if recipe == row["recipe_id"]:
            continue
        rows = index.query(
            f"SELECT image_key FROM {index.table(entry.name)} WHERE recipe_id = ? "
            f"AND prompt_id = ? AND seed = ? AND status = 'ok' ORDER BY image_id LIMIT 1",
            [recipe, row["prompt_id"], row["seed"]],
        )
        out += [(role, str(r["image_key"])) for r in rows]
    return out
