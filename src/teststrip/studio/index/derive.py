"""The two computed columns: how far an image leads its block, and how its scorers disagree."""

from collections.abc import Mapping, Sequence

from teststrip.studio.index.load import quoted

BLOCK = "split, prompt_id, seed"


def lead(objective: str | None, higher_is_better: bool) -> str:
    """Objective minus its mean over the recipes of the same prompt and seed; positive is better.

    NULL where the block has one recipe only, the image failed or its seed is unknown.
    """
    if objective is None:
        return "CAST(NULL AS DOUBLE)"
    value = f"CASE WHEN status = 'ok' AND seed IS NOT NULL THEN {quoted(objective)} END"
    over = f"OVER (PARTITION BY {BLOCK})"
    gap = f"({value}) - avg({value}) {over}"
    sign = "" if higher_is_better else "-"
    return f"CASE WHEN count({value}) {over} > 1 THEN {sign}({gap}) END"


def ranks(scores: Mapping[str, bool], within: str) -> list[str]:
    """A term `rank i` for each score: 0 the worst, 1 the best of those `within`; ties in between.

    `scores`: column -> is higher better?
    """
    terms = []
    for i, (column, higher) in enumerate(scores.items()):
        name = quoted(column)
        over = f"OVER (PARTITION BY {within}, {name} IS NULL ORDER BY {name})"
        middle = f"(percent_rank() {over} + cume_dist() {over}) / 2"
        turned = middle if higher else f"1 - {middle}"
        terms.append(f'CASE WHEN {name} IS NOT NULL THEN {turned} END AS "rank {i}"')
    return terms


def disagreement(scorers: Sequence[str]) -> str:
    """The widest gap between two scorers' ranks of an image, 0 to 1; NULL with fewer than two.

    `scorers`: for each `rank i`, which scorer it is of. A scorer of several columns has their mean.
    """
    groups: dict[str, list[str]] = {}
    for i, scorer in enumerate(scorers):
        groups.setdefault(scorer, []).append(f'"rank {i}"')
    if len(groups) < 2:
        return "CAST(NULL AS DOUBLE)"
    means = [f"list_avg([{', '.join(names)}])" for names in groups.values()]
    spread = f"greatest({', '.join(means)}) - least({', '.join(means)})"
    known = " + ".join(f"CAST({mean} IS NOT NULL AS INT)" for mean in means)
    return f"CASE WHEN {known} > 1 THEN {spread} END"


def scorer_of(column: str) -> str:
    """`technical.noise@1` -> `technical`; `clip_small@1` -> `clip_small`."""
    return column.partition("@")[0].partition(".")[0]
