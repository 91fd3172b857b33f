"""Two processes are one run: what both compute is what one would in two parts; one writes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from teststrip.engine.loading import open_pipeline
from teststrip.train.checkpoints import WEIGHTS, checkpoints, read_state
from teststrip.train.config import TrainConfig
from teststrip.train.export.formats import export
from teststrip.train.export.source import find
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


def in_two(made: TrainConfig, place: Path) -> Path:
    """Train with two processes that gloo joins; the run's folder."""
    (place / "config.json").write_text(made.model_dump_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_WORLD_SIZE": "2",
    }
    arguments = [sys.executable, "-c", SCRIPT, str(place / "config.json"), str(place / "two")]
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
    return place / "two" / "runs" / made.name


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_are_one_run(tmp_path: Path, config: Callable[..., TrainConfig]) -> None:
    changes = {"steps": 4, "optimizer": {"lr": 1e-3}, "every": {"held_out": 4, "checkpoint": 4}}
    one = start(config(accumulate=2, **changes), tmp_path / "one", track=False, device="cpu")
    folder = in_two(config(**changes), tmp_path)
    (mine, _), (theirs, _) = (read_state(checkpoints(at)[-1]) for at in (one.folder, folder))
    assert checkpoints(folder)[-1].meta["samples_seen"] == one.samples_seen
    for name, tensor in mine["raw_unet"].items():
        torch.testing.assert_close(theirs["raw_unet"][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_what_several_processes_save_is_complete(
    tmp_path: Path, tiny: Path, config: Callable[..., TrainConfig]
) -> None:
    """DreamBooth whose checkpoints lack the UNet is what example scripts left on several GPUs."""
    changes: dict[str, Any] = {
        "steps": 4,
        "batch": 1,
        "data": {"caption": "a zwx alien"},
        "subject": {
            "instance_prompt": "a zwx alien",
            "class_prompt": "an alien",
            "class_pictures": 2,
            "prior_weight": 1.0,
        },
        "lora": {"text_encoder": True, "targets": ["to_q", "to_out.0", "conv1"]},
        "optimizer": {"lr": 1e-2},
        "ema": 0.9,
    }
    one = start(config(accumulate=2, **changes), tmp_path / "one", track=False, device="cpu")
    folder = in_two(config(**changes), tmp_path)
    mine, theirs = checkpoints(one.folder), checkpoints(folder)
    assert [made.step for made in theirs] == [made.step for made in mine] == [2, 4]
    for alone, together in zip(mine, theirs, strict=True):
        wanted, found = load_file(alone.weights), load_file(together.weights)
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)
    trained = {name.partition(".lora")[0] for name in found}
    assert trained == adapted(tiny, ("to_q", "to_out.0", "conv1"))
    assert all(bool(tensor.any()) for tensor in found.values()), "each was trained"

    pipe, base = (open_pipeline(tiny, torch.float32, torch.device("cpu")) for _ in range(2))
    pipe.load_lora_weights(theirs[-1].folder, weight_name=WEIGHTS)
    loaded = {n for n, _ in pipe.unet.named_parameters() if "lora_" in n}
    assert len(loaded) == sum(name.startswith("unet.") for name in found)
    made, plain = (picture_of(each) for each in (pipe, base))
    assert made.std() > 0
    assert np.abs(made - plain).max() > 1e-3, "what was learned shows"

    (merged,) = export(find(tmp_path / "two", folder.name), ["merged"], tmp_path / "out")
    files = {
        path.relative_to(merged.path).as_posix() for path in merged.path.rglob("*.safetensors")
    }
    part = "diffusion_pytorch_model.safetensors"
    assert files == {f"unet/{part}", f"vae/{part}", "text_encoder/model.safetensors"}
    whole = picture_of(open_pipeline(merged.path, torch.float32, torch.device("cpu")))
    np.testing.assert_allclose(whole, made, atol=2e-3)


def adapted(base: Path, targets: tuple[str, ...]) -> set[str]:
    """The layers of the base model that an adapter with these targets has weights for."""
    pipe = open_pipeline(base, torch.float32, torch.device("cpu"))
    texts = ("q_proj", "k_proj", "v_proj", "out_proj")
    return {
        f"{part}.{name}"
        for part, module, ends in (
            ("unet", pipe.unet, targets),
            ("text_encoder", pipe.text_encoder, texts),
        )
        for name, _ in module.named_modules()
        if name.endswith(tuple(f".{end}" for end in ends))
    }


def picture_of(pipe: Any) -> Any:
    """[H, W, 3], 0 to 1, two steps from one noise."""
    own = torch.Generator().manual_seed(3)
    made = pipe("a zwx alien", num_inference_steps=2, generator=own, output_type="np")
    return made.images[0]


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
