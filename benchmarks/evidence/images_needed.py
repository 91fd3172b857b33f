"""How many images does each way of searching need to find a recipe as good as the full grid does?

    .venv/bin/python benchmarks/evidence/images_needed.py               # about 6 minutes on 2 cores
    .venv/bin/python benchmarks/evidence/images_needed.py --worlds 20

Two kinds of worlds of known truth (`landscapes.py`) and the contenders of `contenders.py`. Regret
is what the chosen recipe lacks to the best one over all prompts there could be, in standard
deviations of recipes; in the smooth world the best one need not lie on anybody's grid. "Here" means
best on the eight prompts of the study, which is all that the search can see. Every row sees the
same worlds, so that regret and images are compared world by world with row (b), the full grid with
the same blocks for all; intervals are 95 %, by bootstrap over worlds. Slow rows see fewer worlds.

SMAC is no dependency and joins where it can be imported:
    python -m venv /tmp/smac && /tmp/smac/bin/pip install smac
    PYTHONPATH=src:.venv/lib/python3.11/site-packages /tmp/smac/bin/python \\
        benchmarks/evidence/images_needed.py --rows SMAC                # half an hour: its forests
"""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import contenders as by
import numpy as np
from landscapes import SD, Smooth, Unstructured

from teststrip.study.race import Floats

FULL = "(b) full grid, same blocks"
PRUNED = "(d) Optuna TPE + WilcoxonPruner"
TOLERANCE = 0.05
GOALS = {"unstructured": 1 / 4, "smooth": 1 / 8}
CHUNK = 10
TWICE, SLOW, SLOWEST = 2.0, 0.5, 0.05  # share of the worlds


@dataclass(frozen=True)
class Row:
    """A contender; `share` of the worlds is what it sees."""

    name: str
    method: by.Method
    ours: bool = False
    share: float = 1.0


def unstructured_rows() -> list[Row]:
    """48 recipes, 1,536 images in full."""
    rows = [
        Row("one image a recipe, same seed (X/Y plot)", by.one_image),
        Row("(a) grid, seeds of its own for each recipe", by.apart),
        Row(FULL, by.on_grid(by.everything)),
        Row("(c) Optuna TPE, mean of all blocks, 48 trials", by.optuna_tpe(48, prune=False)),
        Row(f"{PRUNED}, 48 trials", by.optuna_tpe(48, prune=True)),
    ]
    if by.has_smac():
        rows.append(Row("(e) SMAC, 480 images", by.smac(480), share=SLOWEST))
    return [
        *rows,
        Row("halving 4 -> 32", by.on_grid(by.halving(4)), ours=True),
        Row("halving 2 -> 32", by.on_grid(by.halving(2)), ours=True),
        Row("halving 2 -> 32, eta 1.3", by.on_grid(by.halving(2, 1.3)), ours=True),
        Row("F-race, p .1", by.on_grid(by.frace()), ours=True),
        Row("posterior, start 4", by.on_grid(by.posterior(4)), ours=True),
        Row("posterior, start 2", by.on_grid(by.posterior(2)), ours=True),
        Row("posterior, start 2, keep 1", by.on_grid(by.posterior(2, 1)), ours=True),
        Row("posterior, start 2, regret .01", by.on_grid(by.posterior(2, 3, 0.01)), ours=True),
    ]


def smooth_rows() -> list[Row]:
    """Five parameters; the full grid has three levels of each: 243 recipes, 7,776 images."""
    rows = [
        Row("one image a recipe, same seed (X/Y plot)", by.one_image),
        Row("(a) grid, seeds of its own for each recipe", by.apart),
        Row(FULL, by.on_grid(by.everything), share=TWICE),
        Row(
            "(c) Optuna TPE, mean of all blocks, 48 trials",
            by.optuna_tpe(48, prune=False),
            share=SLOW,
        ),
        Row(
            "(c) Optuna TPE, mean of all blocks, 96 trials",
            by.optuna_tpe(96, prune=False),
            share=SLOW,
        ),
        Row(f"{PRUNED}, 48 trials", by.optuna_tpe(48, prune=True), share=TWICE),
        Row(f"{PRUNED}, 96 trials", by.optuna_tpe(96, prune=True), share=SLOW),
    ]
    if by.has_smac():
        rows.append(Row("(e) SMAC, 400 images", by.smac(400), share=SLOWEST))
    half, post = by.halving(4), by.posterior(2)
    return [
        *rows,
        Row("full grid, posterior", by.on_grid(post), ours=True, share=SLOW),
        Row("Sobol 64, every block", by.on_sobol(by.everything, 64), ours=True),
        Row("Sobol 64, posterior", by.on_sobol(post, 64), ours=True),
        Row("Sobol 128, posterior", by.on_sobol(post, 128), ours=True, share=SLOW),
        Row("TPE 48, halving 8 -> 32", by.sampled(by.halving(8), "tpe", 48), True, TWICE),
        Row("TPE 48, halving 4 -> 32", by.sampled(half, "tpe", 48), True, TWICE),
        Row("TPE 48, posterior", by.sampled(by.posterior(2, 1), "tpe", 48), True, SLOW),
        Row("TPE 96, halving 4 -> 32", by.sampled(half, "tpe", 96), ours=True, share=SLOW),
    ]


WORLDS = {
    "unstructured": (Unstructured, unstructured_rows),
    "smooth": (Smooth, smooth_rows),
}
Task = tuple[str, int, int, int]
Result = tuple[Row, Floats]  # [worlds, 4] of a row: see `play`


def play(task: Task) -> Floats:
    """Some worlds of one row: place here, place anywhere, regret, images."""
    kind, index, first, last = task
    world_class, rows = WORLDS[kind]
    method = rows()[index].method
    out = []
    for seed in range(first, last):
        world = world_class(seed)
        chosen, images = method(world)
        known = world.anywhere[chosen]
        regret = (world.best - known) / SD["recipe"]
        places = [int((t > t[chosen]).sum()) for t in (world.here, world.anywhere)]
        out.append([*places, regret, images])
    return np.array(out, dtype=float)


def results(worlds: int, kinds: Sequence[str], text: str = "") -> dict[str, list[Result]]:
    """Rows whose name holds `text`, and (b), in two processes."""
    tasks: list[Task] = []
    for kind in kinds:
        for index, row in enumerate(WORLDS[kind][1]()):
            if text in row.name or row.name == FULL:
                count = max(2, round(worlds * row.share))
                steps = range(0, count, CHUNK)
                tasks += [(kind, index, i, min(i + CHUNK, count)) for i in steps]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(play, tasks))
    found = {}
    for kind in kinds:
        rows = WORLDS[kind][1]()
        found[kind] = [
            (
                rows[i],
                np.vstack([p for t, p in zip(tasks, parts, strict=True) if t[:2] == (kind, i)]),
            )
            for i in sorted({i for k, i, *_ in tasks if k == kind})
        ]
    return found


def interval(values: Floats) -> tuple[float, float]:
    """Of a mean, by bootstrap over worlds: [worlds] or, for a ratio of means, [worlds, 2]."""
    rng = np.random.default_rng(0)
    draws = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    draws = draws[:, 0] / draws[:, 1] if draws.ndim == 2 else draws
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def table(kind: str, found: Sequence[Result]) -> str:
    """Markdown."""
    full = next(values for row, values in found if row.name == FULL)
    places = kind == "unstructured"
    head = (
        "| method | images | of (b) | top 3 here | top 3 anywhere |"
        if places
        else ("| method | images | of (b) |")
    )
    columns = head.count("|") + 2
    lines = [head + " regret | regret above (b) | worlds |", "|" + "---|" * columns]
    for row, mine in found:
        same = full[: len(mine)]
        low, high = interval(np.stack([mine[:, 3], same[:, 3]], axis=1))
        ratio = mine[:, 3].mean() / same[:, 3].mean()
        share = "1" if row.name == FULL else f"{ratio:.3f} [{low:.3f}, {high:.3f}]"
        name = f"**{row.name}**" if row.ours else row.name
        cells = [name, f"{mine[:, 3].mean():,.0f}", share]
        if places:
            cells += [rate(mine[:, i] < 3) for i in (0, 1)]
        cells += [with_error(mine[:, 2]), above(mine[:, 2] - same[:, 2]), str(len(mine))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rate(hits: Floats) -> str:
    """A proportion and its standard error."""
    p = float(np.mean(hits))
    return f"{p:.2f} ± {np.sqrt(p * (1 - p) / len(hits)):.2f}"


def with_error(values: Floats) -> str:
    """A mean and its standard error."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def above(differences: Floats) -> str:
    """A mean difference and its interval."""
    low, high = interval(differences)
    return f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def verdict(kind: str, found: Sequence[Result], goal: float) -> str:
    """The cheapest of ours that loses no more than the tolerance, and how it stands to (d)."""
    full = next(values for row, values in found if row.name == FULL)
    fair = [
        (mine[:, 3].mean() / full[: len(mine), 3].mean(), i)
        for i, (row, mine) in enumerate(found)
        if row.ours and interval(mine[:, 2] - full[: len(mine), 2])[1] <= TOLERANCE
    ]
    if not fair:
        return f"{kind}: none of ours stays within {TOLERANCE} of (b)'s regret."
    ratio, best = min(fair)
    chosen, mine = found[best]
    low, high = interval(np.stack([mine[:, 3], full[: len(mine), 3]], axis=1))
    said = "reached" if high <= goal else "reached, but not surely" if ratio <= goal else "missed"
    lines = [
        f"{kind}: cheapest of ours whose regret is above (b)'s by at most {TOLERANCE} (upper end "
        f"of the interval): {chosen.name}, {ratio:.3f} [{low:.3f}, {high:.3f}] of (b)'s "
        f"images, {len(mine)} worlds; goal {goal:g}: {said}."
    ]
    for row, other in found:
        if row.name.startswith(PRUNED):
            count = min(len(mine), len(other))
            gain = above(mine[:count, 2] - other[:count, 2])
            images = np.stack([mine[:count, 3], other[:count, 3]], axis=1)
            low, high = interval(images)
            cost = images[:, 0].mean() / images[:, 1].mean()
            lines.append(
                f"Against {row.name}: {cost:.2f} [{low:.2f}, {high:.2f}] of its images, regret "
                f"{gain} above it, {count} worlds."
            )
    return "\n".join(lines)


def main() -> None:
    """Print the tables and what they say."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--worlds", type=int, default=200)
    options.add_argument("--only", choices=list(WORLDS))
    options.add_argument("--rows", default="", metavar="TEXT", help="only rows named so, and (b)")
    args = options.parse_args()
    kinds = [args.only] if args.only else list(WORLDS)
    found = results(args.worlds, kinds, args.rows)
    for kind in kinds:
        print(f"\n### {kind}\n\n{table(kind, found[kind])}\n")
        if any(row.ours for row, _ in found[kind]):
            print(verdict(kind, found[kind], GOALS[kind]))
    if not by.has_smac():
        print("\nSMAC (e) is not installed here and is left out; see the top of this file.")


if __name__ == "__main__":
    main()
