"""Does `train select` keep its promises? Simulated trainings with known truth, counted.

    .venv/bin/python benchmarks/train/selecting.py               # 10 minutes on 2 idle cores
    .venv/bin/python benchmarks/train/selecting.py --worlds 40

A world is a run of 10 checkpoints and the base model, judged by held-out loss and by a score of
its validation pictures. Every picture and prompt has a level of its own (SD 1), an interplay with
each step (0.25) and noise (0.5); `drift`: each also wanders over the steps, as far as 0.5 at the
end, and neighbouring checkpoints are alike; `shared seeds`: a seed suits a checkpoint at every
prompt (0.25); `heavy tails`: Student's t with 3 degrees of freedom.

    nothing    every checkpoint is worth what the base model is: any answer is a false one
    hill       worth rises to 1 (`low hill`: 0.5) at a step and falls again, the step differs from
               world to world: is the truly best one in the answer?
    harm       the first half is worth 1 less than the base model, the rest the same

Seeds are fixed: the table is the same on every run.
"""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from teststrip.testing.trainings import STEPS, peak, world
from teststrip.train.select.rule import Options, choose
from teststrip.train.select.trend import OVERFIT

SHAPES = {
    "Gaussian": {},
    "shared seeds": {"shared": 0.25},
    "drift": {"drift": 0.5},
    "heavy tails": {"heavy": True},
}
USUAL = (12, 12)
SIZES = ((4, 4), (6, 8), (24, 16))  # held-out pictures, validation prompts
BY = ("both", "loss", "score")
CHUNK = 20

Row = tuple[str, str, str, int, int]


def rows() -> Iterator[Row]:
    """truth, shape, by, pictures, prompts: every shape at the usual size, then every size."""
    for shape in SHAPES:
        for truth in ("nothing", "hill"):
            yield truth, shape, "both", *USUAL
    for size in SIZES:
        for truth in ("nothing", "hill"):
            yield truth, "Gaussian", "both", *size
    for by in BY[1:]:
        for truth in ("nothing", "hill"):
            yield truth, "Gaussian", by, *USUAL
    for truth in ("low hill", "harm"):
        yield truth, "Gaussian", "both", *USUAL


def worth_of(truth: str, number: int) -> list[float]:
    """What the checkpoints of world `number` are worth."""
    if truth == "nothing":
        return [0.0] * len(STEPS)
    if truth == "harm":
        return [-1.0] * 5 + [0.0] * 5
    return peak(STEPS[number % len(STEPS)], 1.0 if truth == "hill" else 0.5)


def count(row: Row, numbers: range) -> dict[str, float]:
    """What came out of some worlds of a row, added up."""
    truth, shape, by, pictures, prompts = row
    out = dict.fromkeys(("answered", "best in", "harmful", "overfit", "size"), 0.0)
    for number in numbers:
        worth = worth_of(truth, number)
        run = world(number, worth=worth, pictures=pictures, prompts=prompts, **SHAPES[shape])
        choice = choose(run, Options(by=by))
        best = STEPS[worth.index(max(worth))]
        answered = choice.leader is not None
        out["answered"] += answered
        out["best in"] += answered and best in choice.answer
        out["harmful"] += answered and worth[STEPS.index(choice.leader)] < 0
        out["overfit"] += choice.trend is not None and choice.trend.word == OVERFIT
        out["size"] += len(choice.answer)
    return out


def share(hits: float, of: float) -> str:
    """Share in per cent with its 95 % interval (Wilson)."""
    if not of:
        return "–"
    p, z = hits / of, 1.96
    middle, half = p + z * z / (2 * of), z * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    low, high = (max((middle + sign * half) / (1 + z * z / of), 0) for sign in (-1, 1))
    return f"{100 * p:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=400, help="of each row")
    worlds = parser.parse_args().worlds
    print(
        "| truth | numbers | by | held-out pictures | prompts | answered, % | best in answer, % "
        "of answered | named a harmful one, % | over-fitted, % | size of the answer |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    chunks = [range(k, min(k + CHUNK, worlds)) for k in range(0, worlds, CHUNK)]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 2)) as pool:
        for row in rows():
            total: dict[str, float] = {}
            for part in pool.map(partial(count, row), chunks):
                total = {key: total.get(key, 0.0) + value for key, value in part.items()}
            answered = total["answered"]
            cells = [*map(str, row), share(answered, worlds)]
            is_hill = "hill" in row[0]
            cells += [share(total["best in"], answered) if is_hill else "–"]
            cells += [share(total["harmful"], worlds), share(total["overfit"], worlds)]
            cells += [f"{total['size'] / answered:.1f}" if answered else "–"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
