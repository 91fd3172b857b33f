"""Two processes are one run: what both compute is what one would in two parts; one writes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from teststrip.train.checkpoints import checkpoints, read_state
from teststrip.train.config import TrainConfig
from teststrip.train.run import start

SCRIPT = """
import sys, torch, hashlib, json
from pathlib import Path
torch.set_num_threads(1)
from teststrip.train.config import TrainConfig
from teststrip.train.run import start
made = TrainConfig.model_validate_json(Path(sys.argv[1]).read_text())
result = start(made, Path(sys.argv[2]), track=False, device="cpu")
assert result.state == "finished", result
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_are_one_run(tmp_path: Path, config: Callable[..., TrainConfig]) -> None:
    changes = {"steps": 4, "optimizer": {"lr": 1e-3}, "every": {"held_out": 4, "checkpoint": 4}}
    one = start(config(accumulate=2, **changes), tmp_path / "one", track=False, device="cpu")
    (tmp_path / "config.json").write_text(config(**changes).model_dump_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_WORLD_SIZE": "2",
    }
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "config.json"), str(tmp_path / "two")]
    running = [
        subprocess.Popen(
            arguments,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    folder = tmp_path / "two" / "runs" / "run"
    (mine, _), (theirs, _) = (read_state(checkpoints(at)[-1]) for at in (one.folder, folder))
    assert checkpoints(folder)[-1].meta["samples_seen"] == one.samples_seen
    for name, tensor in mine["raw_unet"].items():
        torch.testing.assert_close(theirs["raw_unet"][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_command_runs_on_several_processes(
    tmp_path: Path, config: Callable[..., TrainConfig]
) -> None:
    """By torch's launcher, which is what `accelerate launch` calls for several GPUs."""
    made = config(steps=2, every={"held_out": 2, "checkpoint": 2})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = ["-m", "teststrip", "train", "run", str(file), "--no-track", "--json"]
    found = subprocess.run(
        [sys.executable, "-m", *launcher, *command],
        env=os.environ | {"TESTSTRIP_HOME": str(tmp_path / "home"), "TESTSTRIP_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    said = [line for line in found.stdout.splitlines() if line.startswith("{")]
    assert len(said) == 1, "one process speaks"
    assert json.loads(said[0])["samples_seen"] == 2 * 2 * 2
