"""The benchmark of images needed: its contenders are what they are called, and it runs."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest

FOLDER = Path("benchmarks/evidence").resolve()


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's own modules, which are scripts beside each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import contenders
    import landscapes

    return contenders, landscapes


def test_the_pruner_of_the_benchmark_is_optunas_own(modules):
    contenders, landscapes = modules
    scores = landscapes.Unstructured(0).scores[:12]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    best = np.zeros(0)
    stopped = 0

    for row in scores:
        trial, blocks = study.ask(), len(row)
        for step, value in enumerate(row):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial.report(float(value), step)
                if step + 1 < len(row) and trial.should_prune():
                    blocks = step + 1
                    break
        assert contenders.stopped_at(row, best) == blocks
        stopped += blocks < len(row)
        mean = float(row[:blocks].mean())
        study.tell(trial, mean)
        best = row[:blocks] if not len(best) or mean > best.mean() else best

    assert stopped > 3


@pytest.mark.parametrize("kind", ["Unstructured", "Smooth"])
def test_a_world_has_the_spreads_it_claims(modules, kind):
    _, landscapes = modules
    worlds = [getattr(landscapes, kind)(seed) for seed in range(12)]
    for world in worlds:
        ids = world.everything()
        assert world.best >= world.anywhere[[int(i) for i in ids]].max() - 1e-9
        own = world.scores - world.scores.mean(axis=0)
        by_prompt = own.reshape(len(own), landscapes.SEEDS, landscapes.PROMPTS)
        rest = by_prompt - by_prompt.mean(axis=1, keepdims=True)
        within = (rest**2).sum() / (len(own) - 1) / 24
        assert within == pytest.approx(landscapes.SD["residual"] ** 2, rel=0.15)


@pytest.mark.slow
def test_the_benchmark_runs():
    script = str(FOLDER / "images_needed.py")
    done = subprocess.run(
        [sys.executable, script, "--worlds", "2", "--only", "unstructured"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "| (b) full grid, same blocks | 1,536 | 1 |" in done.stdout
    assert "goal 0.25" in done.stdout
