"""The examples of training: what they draw, their files, their sheet; the loop to beat."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from teststrip.engine import loading
from teststrip.recipe import Block
from teststrip.testing.tiny import tiny_pipeline
from teststrip.train.config import TrainConfig

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "train"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts import each other by name, as when they are run."""
    for folder in (EXAMPLES, ROOT / "benchmarks" / "train"):
        monkeypatch.syspath_prepend(str(folder))
    yield
    for name in ("draw_style", "draw_subject", "sheet", "reference", "speed"):
        sys.modules.pop(name, None)


def test_the_subject_is_drawn_the_same_each_time_and_never_cut_off() -> None:
    from draw_subject import monster, picture, poses

    first, again = ([picture(pose).tobytes() for pose in poses()] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first) == 24
    for pose in poses():
        alpha = np.array(monster(pose).getchannel("A"))
        edges = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
        assert not any(edge.any() for edge in edges)


def test_a_sketch_is_lines_on_paper() -> None:
    from draw_style import PAPER, sketch

    flat = Image.new("RGB", (64, 64), (240, 170, 210))
    assert abs(np.array(sketch(flat), float) - PAPER).max() <= 1  # nothing to draw
    flat.paste((90, 220, 60), (16, 16, 48, 48))
    drawn = np.array(sketch(flat).convert("L"), float)
    assert drawn.shape == (64, 64)
    assert drawn[32, 14:18].min() < 120  # the edge
    assert drawn[32, 30:34].min() > 230  # inside and outside stay paper
    assert drawn[4:8, 4:8].min() > 230


def test_the_style_is_never_drawn_on_what_its_prompts_name() -> None:
    from draw_style import things

    config = TrainConfig.from_yaml(EXAMPLES / "style.yaml")
    named = {prompt.split()[-1] for prompt in config.validation.prompts}
    facts = json.loads((loading.find_folder("builtin") / "teststrip.json").read_text())
    assert named <= set(facts["objects"])
    assert not named & set(things())
    assert len(config.validation.prompts) >= 8  # else selecting has none to confirm with


def test_the_subject_file_keeps_its_class() -> None:
    config = TrainConfig.from_yaml(EXAMPLES / "subject.yaml")
    assert config.kind == "dreambooth"
    assert config.subject
    assert config.subject.prior_weight == 1
    assert all(config.trigger in prompt for prompt in config.validation.prompts)


def test_the_sheet_has_a_row_for_each_checkpoint(tmp_path: Path) -> None:
    from sheet import GAP, SIDE, draw, held_out_curve

    prompts, source = ["one", "two"], tmp_path / "pictures"
    source.mkdir()
    Image.new("RGB", (8, 8), "blue").save(source / "a.png")
    config = {"validation": {"prompts": prompts, "seeds": [0]}, "data": {"source": str(source)}}
    record = {"config": config, "selected": {"step": 10}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    manifest = {"pictures": [{"name": "a.png", "split": "train"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    for step in (0, 10):
        (tmp_path / "samples" / str(step)).mkdir(parents=True)
        for prompt in prompts:
            name = f"{Block(prompt=prompt, seed=0).prompt_id}-0.png"
            Image.new("RGB", (8, 8), "red").save(tmp_path / "samples" / str(step) / name)
    lines = [
        {"step": step, "picture": f"p{k}", "loss": 0.5 + 0.1 * k - 0.02 * step * (1 + 0.1 * k)}
        for step in (0, 5, 10)
        for k in range(4)
    ]
    (tmp_path / "held_out.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    image = draw(tmp_path, 8)
    red = (np.array(image) == (255, 0, 0)).all(axis=2).sum()
    assert red == 4 * SIDE * SIDE  # two prompts at two steps
    blue = (np.array(image) == (0, 0, 255)).all(axis=2).sum()
    assert blue == 2 * SIDE * SIDE
    assert image.width > 2 * (SIDE + GAP)
    curve = held_out_curve(lines)
    assert [point.step for point in curve] == [0, 5, 10]
    assert curve[-1].change == pytest.approx(-0.02 * 10 * 1.15)
    # four changes of -0.20, -0.22, -0.24, -0.26: t(3) = 3.182, sd 0.02582
    assert curve[-1].high - curve[-1].change == pytest.approx(3.182 * 0.02582 / 2, rel=1e-3)
    assert held_out_curve([line for line in lines if line["step"]]) == []


@pytest.mark.parametrize("kind", ["lora", "dreambooth"])
def test_both_loops_of_the_benchmark_train_the_same_thing(kind: str, tmp_path: Path) -> None:
    """Noise differs, so only means can agree; a forgotten prior would halve one of them."""
    import speed

    work = tmp_path / "work"
    work.mkdir()
    speed.make_pictures(work, 32)
    folder = tiny_pipeline(tmp_path / "model")
    given: Any = SimpleNamespace(
        folder=folder, work=work, kind=kind, steps=16, batch=4, seed=0, size=32,
        device="cpu", precision="fp32",
    )  # fmt: skip
    losses = []
    clock = speed.Clock()
    for work_of in (
        lambda: speed.run_diffusers(given, speed.Clock()),
        lambda: speed.run_ours(given, clock, caches=True),
        lambda: speed.run_ours(given, speed.Clock(), caches=False),
    ):
        undo = speed.share_timesteps()
        try:
            losses.append(work_of()["losses"])
        finally:
            undo()
    theirs, ours, plain = losses
    assert ours == plain  # caches change nothing
    assert len(theirs) == len(ours) == len(clock.cpu) == 16
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.1)
