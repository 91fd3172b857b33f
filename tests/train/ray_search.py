"""A search on a Ray cluster, as a program: `python ray_search.py HOME grid|asha`.

The objective is a loss curve of known truth, defined here so that Ray sends it along by value; it
needs no torch, so workers start in a second.
"""

import json
import os
import sys
from pathlib import Path

from teststrip.train.config import TrainConfig
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.job import Measured, Report, TrialFailed, TrialPruned
from teststrip.train.tune.search import search

HOME = Path(sys.argv[1])


def objective(config: TrainConfig, report: Report) -> float:
    lr, rank = config.optimizer.lr, config.lora.rank
    with (HOME / "taken.txt").open("a") as file:
        file.write(f"{config.name} {os.getpid()}\n")
    if lr > 1:
        raise TrialFailed("step 3: loss is not finite")
    if rank == 4 and not (HOME / "died").exists():
        (HOME / "died").touch()
        os.kill(os.getpid(), 9)
    value = 0.0
    for index in range(1, 3):
        units = {f"p{k}": k / 10 + lr + rank / 100 + 1 / index for k in range(4)}
        value = sum(units.values()) / 4
        if not report(Measured(index, index, value, units)):
            raise TrialPruned("behind")
    return value


BOTH = {
    "train": {"base": "tiny", "data": "pictures", "steps": 24},
    "measure": 2,
    "backend": "ray",
    "ray": {"cpus": 2},
}
GRID = {
    "name": "grid",
    "space": {"optimizer.lr": [1e-2, 10.0], "lora.rank": [2, 4]},
    "design": "grid",
    "early_stop": "none",
    "repeat": {"top": 1, "seeds": 2},
}
ASHA = {
    "name": "asha",
    "space": {"optimizer.lr": {"float": [1e-4, 1e-1], "log": True}},
    "trials": 8,
    "early_stop": {"kind": "halving", "grace": 1, "eta": 2},
    "repeat": {"top": 0},
}
if __name__ == "__main__":
    config = TuneConfig.model_validate(BOTH | {"grid": GRID, "asha": ASHA}[sys.argv[2]])
    print(json.dumps(search(config, HOME, objective).as_dict()))
