"""How long does the analysis of 100,000 images take, and how much memory?

    python benchmarks/evidence/speed.py

Tables of 6 scores in Parquet: recipes x blocks as 3,125 x 32, 400 x 250 and 10,000 x 10, and a
raced one. Each is read, checked, analysed and written as JSON in a process of its own, so that
time and peak memory are those of `teststrip study analyze TABLE --json` without Python's start.
Prints a Markdown table.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SHAPES = {
    "3,125 recipes x 32 blocks (8 prompts)": (3125, 8, 4, False),
    "400 recipes x 250 blocks (50 prompts)": (400, 50, 5, False),
    "10,000 recipes x 10 blocks (10 prompts)": (10_000, 10, 1, False),
    "12,500 recipes raced 4 -> 32 (100,000 images)": (12_500, 8, 4, True),
}
SCORES = [f"score_{k}@1" for k in range(6)]


def write_table(path: Path, recipes: int, prompts: int, seeds: int, *, raced: bool) -> int:
    """A table with recipe, prompt, seed and residual variance; returns its rows."""
    rng = np.random.default_rng(1)
    blocks = prompts * seeds
    level = rng.normal(0, 0.25, (recipes, 1)) + rng.normal(0, 1, (1, blocks))
    made = np.ones((recipes, blocks), dtype=bool)
    if raced:
        place = np.argsort(np.argsort(-level.mean(axis=1)))
        for count in (4, 8, 16):
            made[place >= recipes * 2 / count, count:] = False
        made[0] = True
    i, b = np.nonzero(made)
    settings = {
        "recipe.scheduler": np.array(["ddim", "euler", "dpmpp_2m", "unipc"])[i % 4],
        "recipe.steps": 4 + (i * 7) % 40,
        "recipe.guidance": 1 + ((i * 13) % 97) / 8,
        "recipe.rescale": ((i * 29) % 11) / 10,
        "param.dummy_a": ((i * 53) % 101) / 100,
    }
    common = rng.normal(0, 0.5, (recipes, blocks))
    scores = {
        name: (level + common + rng.normal(0, 0.5, (recipes, blocks)))[i, b] for name in SCORES
    }
    frame = pd.DataFrame(
        {
            "recipe_id": np.char.add("r", i.astype(str)),
            **settings,
            "prompt_id": np.char.add("p", (b % prompts).astype(str)),
            "prompt": np.char.add("a picture of thing ", (b % prompts).astype(str)),
            "seed": b // prompts,
            "block": b,
            "seconds": rng.uniform(0.5, 2, len(i)),
            "model_calls": 4 + (i * 7) % 40,
            **scores,
        }
    )
    frame.to_parquet(path)
    return len(frame)


def measure(path: Path, pipe) -> None:
    """In a process of its own: seconds and MB."""
    import json

    from teststrip.evidence import analysis, summary, table
    from teststrip.evidence.facts import StudyFacts

    facts = StudyFacts("speed", SCORES[0], baseline="r0", threshold=0.0, design="random")
    began = time.perf_counter()
    found = analysis.analyse(table.load(path, facts.objective), facts)
    size = len(json.dumps(summary.summarise(found)))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send((seconds, peak, size))


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--repeats", type=int, default=3)
    args = options.parse_args()
    print("| table | rows | median s | peak MB | JSON kB | repeats |\n|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for name, (recipes, prompts, seeds, raced) in SHAPES.items():
            path = Path(folder) / "images.parquet"
            rows = write_table(path, recipes, prompts, seeds, raced=raced)
            found = []
            for _ in range(args.repeats):
                ours, theirs = context.Pipe()
                process = context.Process(target=measure, args=(path, theirs))
                process.start()
                found.append(ours.recv())
                process.join()
            seconds, peak, size = np.median(np.array(found), axis=0)
            cells = (name, f"{rows:,}", f"{seconds:.1f}", f"{peak:,.0f}", f"{size / 1e3:.0f}")
            print(f"| {' | '.join(cells)} | {args.repeats} |", flush=True)


if __name__ == "__main__":
    main()
