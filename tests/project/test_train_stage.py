"""Stage train: the same bytes in any folder, killed or not; model/ is as good as the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image, ImageDraw
from safetensors import safe_open

from teststrip import png
from teststrip.config import with_changes
from teststrip.errors import ConfigError, ModelError, StudyError
from teststrip.project.curves import read_curves
from teststrip.project.project import Project
from teststrip.project.record import Hashes, hash_files
from teststrip.testing.tiny import tiny_pipeline
from teststrip.train.checkpoints import checkpoints
from teststrip.train.select import measured
from teststrip.wire.stages import Here, canonical, train, train_config
from teststrip.wire.stages.base_model import BaseModel

OUTPUTS = ("model", "metrics/train.json", "plots/curves.csv")
HERE = Here(device="cpu", track=False)
COLOURS = ("red", "green", "blue", "black", "orange", "purple")
SETTINGS = {
    "data": {"held_out": 0.3},
    "lora": {"rank": 2},
    "batch": 2,
    "every": {"log": 1, "held_out": 2, "checkpoint": 2},
    "validation": {"draws": 2, "prompts": [], "scorers": []},
}
Make = Callable[..., Project]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of 32 px with random weights."""
    return tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def make(tmp_path: Path, tiny: Path) -> Make:
    """`make("folder", "train.steps=6")`: a project whose pictures are prepared."""

    def project(name: str = "here", *changes: str, **more: Any) -> Project:
        root = tmp_path / name
        folder = root / "data/prepared"
        folder.mkdir(parents=True)
        for number, colour in enumerate(COLOURS):
            picture = Image.new("RGB", (32, 32), "white")
            ImageDraw.Draw(picture).ellipse((4 + number, 6, 20 + number, 24), fill=colour)
            picture.save(folder / f"{number}.png")
        params = {
            "kind": "dreambooth",
            "train": {
                "model_name": str(tiny),
                "instance_prompt": "a zwx alien",
                "steps": 4,
                "settings": SETTINGS,
            },
            "infer": {"prompt": "a zwx alien"},
        }
        (root / "params.yaml").write_text(yaml.safe_dump(with_changes(params, changes)))
        return Project.open(root, **more)

    return project


def outputs(project: Project) -> Hashes:
    return hash_files(project.root, OUTPUTS)


pytestmark = pytest.mark.usefixtures("one_thread")
PICTURES = ("train.settings.validation.prompts=[a zwx alien, a red zwx alien]",)
SHORT = (
    "train.settings.validation.recipe={steps: 2}",
    "train.settings.validation.seeds=[0]",
    "train.settings.validation.scorers=[technical]",
)


def test_it_writes_a_model_its_numbers_and_its_curves(make: Make) -> None:
    project = make()
    told: list[tuple[str, int, int]] = []
    here = Here("cpu", track=False, progress=lambda *facts: told.append(facts))
    made = train.run(project, here)
    assert made.device == "cpu"
    assert set(made.model) == {"model", "revision", "fingerprint"}
    assert made.resolved == {
        "train.image_size": 32,
        "train.learning_rate": 2e-3,
        "train.settings.precision": "fp32",
    }
    assert made.said.startswith("4 steps, held-out loss ")
    assert any(what.startswith("training, loss ") for what, _, _ in told)
    assert told[-1][1:] == (4, 4)
    found = json.loads((project.root / "metrics/train.json").read_text())
    assert found["steps"] == 4
    assert found["val_loss"].keys() == {"base", "best", "best_step", "gain", "last", "pictures"}
    assert found["val_loss"]["pictures"] == 1
    curves = read_curves((project.root / "plots/curves.csv").read_text(), "curves")
    assert [step for step, _ in curves.of("loss")] == [1, 2, 3, 4]
    assert [step for step, _ in curves.of("val_loss")] == [0, 2, 4]
    assert curves.of("val_loss")[0][1] == found["val_loss"]["base"]
    assert [one.step for one in checkpoints(project.root / "model")] == [2, 4]
    assert not list((project.root / "model").rglob("state")), "nothing to resume from"


def test_other_folders_other_times_the_same_bytes(make: Make, tmp_path: Path) -> None:
    one = make("one", *PICTURES, *SHORT)
    two = make("far/away/two", *PICTURES, *SHORT, home=tmp_path / "elsewhere")
    train.run(one, HERE)
    train.run(two, HERE)
    assert outputs(one) == outputs(two)
    assert len([name for name in outputs(one) if name.endswith(".png")]) == 6
    for path in (one.root / "model").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()


@pytest.mark.slow
def test_a_base_model_in_the_project_is_named_as_it_is_in_params(
    make: Make, tiny: Path, tmp_path: Path
) -> None:
    made = []
    for name in ("one", "two"):
        project = make(name, *PICTURES, *SHORT, "train.model_name=data/base")
        shutil.copytree(tiny, project.root / "data/base")
        train.run(project, HERE)
        made.append(outputs(project))
    assert made[0] == made[1]
    picture = (tmp_path / "one/model/samples/4").glob("*.png")
    recipe = png.read(next(picture).read_bytes()).request.recipe
    assert recipe.model == "data/base"
    assert recipe.loras[0].path == "model/checkpoints/000004/pytorch_lora_weights.safetensors"


def test_what_was_stopped_goes_on_to_the_same_bytes(make: Make) -> None:
    straight, stopped = make("straight"), make("stopped")
    train.run(straight, HERE)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("training") and done == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StudyError, match=r"stopped at step 2 of 4 \(SIGTERM\); what was"):
        train.run(stopped, Here("cpu", track=False, progress=stop))
    assert not (stopped.root / "model").exists(), "whole or not there"
    train.run(stopped, HERE)
    assert outputs(stopped) == outputs(straight)


def test_model_gives_the_run_back_in_a_clone(make: Make) -> None:
    project = make("one", *PICTURES, *SHORT)
    train.run(project, HERE)
    name = canonical.run_name(project)
    own = canonical.restored(project)
    assert own.path == project.home.resolve() / "runs" / name
    assert checkpoints(own.path)[-1].has_state, "the run that is there is taken as it is"
    shutil.rmtree(project.home)
    again = canonical.restored(project)
    before, after = measured.read(project.root / "model"), measured.read(again.path)
    assert after.steps == before.steps == (2, 4)
    assert after.prompts == ("a zwx alien", "a red zwx alien")
    assert after.held_out is not None
    assert after.samples is not None
    assert after.samples.equals(before.samples)
    shutil.rmtree(project.root / "model")
    with pytest.raises(ConfigError, match=r"model/run\.json: not there or damaged; run"):
        canonical.restored(project)


def test_every_fault_is_named_as_it_stands_in_params(make: Make) -> None:
    project = make(
        "here",
        "train.learning_rate=-1",
        "train.image_size=17",
        "train.settings.lora.rnk=3",
        "train.settings.optimizer={lr: 1.0e-4, name: adam}",
        "train.settings.steps=5",
        "train.settings.data.source=/etc",
        "train.settings.every=often",
        "train.settings.base=builtin",
    )
    with pytest.raises(ConfigError) as raised:
        train.run(project, HERE)
    told = raised.value.faults
    wanted = (
        "train.learning_rate: Input should be greater than 0",
        "train.image_size: multiples of 8",
        "train.settings.lora.rnk: unknown key",
        "train.settings.optimizer.lr: stands in train.learning_rate",
        "train.settings.optimizer.name: Input should be 'adamw'",
        "train.settings.steps: stands in train.steps",
        "train.settings.data.source: it is data/prepared",
        "train.settings.every: ",
        "train.settings.base: keys with values",
    )
    assert [w for w in wanted if not any(fault.startswith(w) for fault in told)] == []
    assert len(told) == len(wanted), told


def test_a_style_has_no_subject(make: Make) -> None:
    project = make("here", "kind=lora", "train.settings.subject={class_pictures: 2}")
    with pytest.raises(ConfigError) as raised:
        train.run(project, HERE)
    told = raised.value.faults
    assert [fault.split(":")[0] for fault in told] == [
        "train.instance_prompt",
        "train.settings.subject",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.image_size=40", "train.image_size 40: model .* multiples of 4 px|multiples of"),
        ("train.settings.validation.recipe={steps: 0}", "train.settings.validation.recipe"),
        ("train.model_name=nowhere", "no such folder"),
        (
            "train.settings.lora.targets=[nothing]",
            "train.settings.lora.targets nothing: peft cannot",
        ),
    ],
)
def test_what_the_model_cannot_do_is_said(make: Make, change: str, words: str) -> None:
    project = make("here", *PICTURES, change)
    if change == "train.image_size=40":  # the tiny model takes 40; the built-in one does not
        project = make("built", change, "train.model_name=builtin")
    with pytest.raises((ConfigError, ModelError), match=words):
        train.run(project, HERE)


def test_numbers_that_break_are_a_clear_end_and_no_model(make: Make) -> None:
    project = make("here", "train.learning_rate=1.0e30", "train.settings.clip=null")
    with pytest.raises(StudyError, match=r"stage train: .*try train\.learning_rate"):
        train.run(project, HERE)
    assert not (project.root / "model").exists()


def test_other_code_begins_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make()
    train.run(project, HERE)
    before = outputs(project)
    run = canonical.restored(project)
    (run.path / "mark").touch()
    train.run(project, HERE)
    assert (run.path / "mark").exists(), "the same code, inputs and parameters: nothing to do"
    monkeypatch.setattr(train, "code_hash", lambda: "other")
    train.run(project, HERE)
    assert not (run.path / "mark").exists()
    assert outputs(project) == before


def test_only_the_newest_runs_are_kept(make: Make, tmp_path: Path) -> None:
    project = make()
    for number in range(6):
        old = tmp_path / f"here/work/runs/dreambooth-{number:012d}"
        old.mkdir(parents=True)
        state = "finished" if number else "stopped"
        (old / "run.json").write_text(json.dumps({"state": state}))
        os.utime(old / "run.json", (1e9 + number, 1e9 + number) if number else None)
    mine = tmp_path / "here/work/runs/dreambooth-of-mine"
    mine.mkdir()
    train.run(project, HERE)
    found = {path.name for path in mine.parent.iterdir()} - {canonical.run_name(project)}
    kept = {f"dreambooth-{number:012d}" for number in (0, 3, 4, 5)}
    assert found == kept | {"dreambooth-of-mine"}


def test_auto_follows_the_width_of_the_model(tiny: Path, tmp_path: Path) -> None:
    wide = shutil.copytree(tiny, tmp_path / "wide")
    config = json.loads((wide / "unet/config.json").read_text())
    config |= {"block_out_channels": [320, 640, 1280, 1280], "sample_size": 64}
    (wide / "unet/config.json").write_text(json.dumps(config))
    found = BaseModel.find(str(wide), None)
    assert (found.rate, found.size, found.multiple) == (1e-4, 128, 16)
    assert BaseModel.find(str(tiny), None).rate == 2e-3
    (wide / "unet/config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"set prepare\.size, train\.image_size"):
        BaseModel.find(str(wide), None)


def test_values_that_depend_on_others(make: Make) -> None:
    project = make(
        "here",
        "train.settings.optimizer.name=prodigy",
        "train.image_size=64",
        "train.class_prompt=an alien",
        "train.settings.validation.recipe={steps: 3}",
    )
    config = train_config.resolve(project, "cpu").config
    assert config.optimizer.lr == 1.0, "prodigy finds the rate itself"
    assert config.validation.recipe == {"steps": 3, "width": 64, "height": 64}
    assert config.subject is not None
    assert config.subject.prior_weight == 1.0
    other = make("other", "train.image_size=64", "train.learning_rate=3.0e-3")
    assert train_config.resolve(other, "cpu").config.name != config.name


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_bytes(make: Make) -> None:
    """kill -9 after the first checkpoint; and what one process wrote stands in no other's way."""
    straight, killed = (make(name, "train.steps=30") for name in ("straight", "killed"))
    command = [sys.executable, "-m", "teststrip", "project", "run", "train", "--no-track"]
    env = os.environ | {"TESTSTRIP_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    env.pop("TESTSTRIP_HOME", None)
    subprocess.run(command, cwd=straight.root, env=env, check=True, capture_output=True)
    running = subprocess.Popen(command, cwd=killed.root, env=env, stderr=subprocess.PIPE)
    runs = killed.root / "work/runs"
    while running.poll() is None and not list(runs.glob("*/checkpoints/0*/checkpoint.json")):
        time.sleep(0.02)
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL, "it was killed before its end"
    begun = checkpoints(next(runs.iterdir()))
    assert begun
    assert not (killed.root / "locks/train.json").exists()
    first = begun[0].folder.stat().st_ino
    done = subprocess.run(
        command, cwd=killed.root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    again = checkpoints(next(runs.iterdir()))
    assert again[0].folder.stat().st_ino == first, "it went on and did not begin anew"
    assert outputs(killed) == outputs(straight)
    with safe_open(straight.root / "model/checkpoints/000030" / canonical.WEIGHTS, "pt") as file:
        assert len(file.keys()) > 10


@pytest.mark.slow
def test_several_processes_make_one_model(make: Make) -> None:
    """As on several GPUs; gloo joins them here."""
    project = make("here", "train.steps=4")
    command = ["project", "run", "train", "--json"]
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    env = os.environ | {"TESTSTRIP_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    env.pop("TESTSTRIP_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "teststrip", *command],
        cwd=project.root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = checkpoints(project.root / "model")
    assert [one.step for one in found] == [2, 4]
    assert [one.meta["samples_seen"] for one in found] == [8, 16], "both trained"
    assert (project.root / "locks/train.json").is_file()
    assert done.stdout.count('"ran"') == 1, "one of them speaks"
