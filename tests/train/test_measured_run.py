"""A whole run, measured: every file is there, and looking at it changed no weight."""

import json

import pytest
import torch
from safetensors.torch import load_file

from teststrip.train.checkpoints import checkpoints
from teststrip.train.measure import table, written
from teststrip.train.run import start

pytestmark = pytest.mark.usefixtures("one_thread")
LOOKED_AT = {"prompts": ["a red circle"], "seeds": [0, 1], "recipe": {"steps": 1}}


def test_images_scores_and_losses_change_no_weight(config, tmp_path):
    blind = start(
        config(data={"held_out": 0.25}, every={"held_out": 4, "checkpoint": 4}),
        tmp_path / "blind",
        track=False,
        device="cpu",
    )
    seen = start(
        config(
            data={"held_out": 0.25},
            every={"held_out": 1, "checkpoint": 2},
            validation=LOOKED_AT | {"scorers": ["clip"]},
        ),
        tmp_path / "seen",
        track=False,
        device="cpu",
    )

    first, last = (checkpoints(run.folder)[-1] for run in (blind, seen))
    assert (seen.state, last.step) == ("finished", 4)
    weights, same = load_file(first.weights), load_file(last.weights)
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)

    rows = table.read(seen.folder / "samples.parquet")
    assert [(r["step"], r["seed"]) for r in rows] == [(s, k) for s in (0, 2, 4) for k in (0, 1)]
    losses = written.rows_of(seen.folder / "held_out.jsonl")
    assert sorted({row["step"] for row in losses}) == [0, 1, 2, 3, 4]
    lines = written.rows_of(seen.folder / "metrics.jsonl")
    curves = {name for line in lines for name in line}
    assert {"loss", "loss_ema", "val_loss", "lr", "grad_norm", "images_per_s"} <= curves
    assert last.meta["val_loss"] == [r["val_loss"] for r in lines if "val_loss" in r][-1]
    told = json.loads((seen.folder / "progress.json").read_text())
    assert (told["doing"], told["step"], told["steps"]) == ("finished", 4, 4)
    record = json.loads((seen.folder / "run.json").read_text())
    assert set(record["scores"]) <= curves
