"""Select: from a run's folder to a decision beside it, through a real study where it is asked."""

import json
from dataclasses import replace

import pytest
import torch

from teststrip.errors import ConfigError, StudyError
from teststrip.recipe import Block, Lora
from teststrip.study.config import Named
from teststrip.study.load import read_study
from teststrip.testing.synthetic import COLUMN
from teststrip.testing.trainings import SCORE, STEPS, peak, world
from teststrip.train import checkpoints
from teststrip.train.folder import RunFolder
from teststrip.train.select.measured import read
from teststrip.train.select.rule import Options, choose
from teststrip.train.select.sweep import Sweep, kept_back, study_of, tried
from teststrip.wire import Bench
from teststrip.wire.selecting import select

THINGS = ("cat", "cup", "hat", "car")
PROMPTS = [f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in THINGS]


@pytest.fixture
def made(tmp_path, config):
    """`made(truth)`: a run's folder as training leaves it, with numbers of a known truth."""

    def make(truth, name="ink", prompts=PROMPTS, **changes):
        ids = {f"p{n}": Block(prompt=p, seed=0).prompt_id for n, p in enumerate(prompts)}
        run = RunFolder.of(tmp_path, name)
        scorers = [{"name": "synthetic"}]
        trained = config(
            name=name,
            validation={"prompts": list(prompts), "scorers": scorers, "recipe": {"steps": 4}},
            **changes,
        )
        run.write(
            state="finished",
            config=trained.model_dump(mode="json"),
            prompts={ids[f"p{n}"]: p for n, p in enumerate(prompts)},
            scores={COLUMN: True},
        )
        for step in STEPS:
            weights = {"unet.x.lora_A.weight": torch.full((1, 2), float(step))}
            checkpoints.write(run.path, step, weights, {}, {"trigger": "", "scale": 1.0})
        truth.held_out.to_json(run.held_out, orient="records", lines=True)
        samples = truth.samples.rename(columns={SCORE: COLUMN})
        samples = samples[samples["prompt_id"].isin(ids)]
        samples = samples.assign(prompt_id=samples["prompt_id"].map(ids), png="")
        samples.to_parquet(run.path / "samples.parquet")
        return run

    return make


def adapters_worth(run, worth):
    """A generator whose pictures with this adapter at this scale are that much better."""
    table = {}
    for step, value in worth.items():
        file = str((run.checkpoints / f"{step:06}" / checkpoints.WEIGHTS).resolve())
        for scale in (0.5, 1.0):
            lora = (Lora(path=file, scale=scale),)
            table[str(lora)] = value - 2.0 * (scale - 0.5)
    return Named(name="synthetic", options={"effects": {"loras": table}, "sd_recipe": 0.0})


def test_a_run_is_read_as_training_left_it(made):
    run = made(world(1, worth=peak(400, 1.0)))
    found = read(run.path)
    assert found.steps == STEPS
    assert found.scores == {COLUMN: True}
    assert len(found.held_out) == 12 * 11
    assert choose(found).leader is not None


def test_the_last_line_of_a_step_counts_and_a_torn_one_does_not(made):
    run = made(world(1))
    first = json.loads(run.held_out.read_text().splitlines()[0])
    with run.held_out.open("a") as file:
        file.write(json.dumps(first | {"loss": 0.5}) + "\n" + '{"step": 100, "pic')
    found = read(run.path).held_out
    row = found[(found["step"] == 0) & (found["picture"] == first["picture"])]
    assert row["loss"].tolist() == [0.5]


def test_the_decision_is_written_beside_the_run(made, tmp_path):
    run = made(world(1, worth=peak(400, 1.0)))
    found = select(Bench(tmp_path, track=False), "ink", Options())
    assert found.step in found.choice.answer
    assert not found.confirmed
    kept = json.loads((run.path / "select.json").read_text())
    assert kept["step"] == found.step
    assert kept["criteria"][0]["steps"][0]["n"] == 12
    assert run.read()["selected"]["step"] == found.step
    assert str(found.step) in run.read()["selected"]["why"]


def test_a_refusal_is_written_down_too_and_takes_back_what_was_selected(made, tmp_path):
    run = made(world(3))
    run.write(selected={"step": 100, "why": "a guess"})
    with pytest.raises(StudyError, match="would settle it"):
        select(Bench(tmp_path, track=False), "ink", Options())
    assert "selected" not in run.read()
    assert json.loads((run.path / "select.json").read_text())["refused"]


def test_checkpoint_and_scale_are_found_by_a_study_and_confirmed(made, tmp_path):
    run = made(world(1, worth=peak(400, 1.0)))
    worth = {300: 2.0, 400: 3.0, 500: 2.0, 600: 1.0, 700: 0.5}
    sweep = Sweep(scales=(0.5, 1.0), generator=adapters_worth(run, worth))
    found = select(Bench(tmp_path, track=False), "ink", Options(), sweep)
    assert (found.step, found.scale) == (400, 0.5)
    assert found.confirmed
    assert "never saw" in found.why
    assert run.read()["selected"]["scale"] == 0.5
    kept = json.loads((run.path / "select.json").read_text())
    assert kept["study"]["name"].startswith("ink-select-")
    again = select(Bench(tmp_path, track=False), "ink", Options(), sweep)
    assert again.step == found.step
    assert again.findings.looks == 1
    from_file = read_study(run.path / "select.yaml")
    assert from_file.resolved() == again.findings.study.config.resolved()


def test_what_new_pictures_do_not_bear_out_is_not_selected(made, tmp_path):
    run = made(world(1, worth=peak(400, 1.0)))
    sweep = Sweep(scales=(0.5, 1.0), generator=adapters_worth(run, dict.fromkeys(STEPS, -3.0)))
    with pytest.raises(StudyError, match="do not bear it out"):
        select(Bench(tmp_path, track=False), "ink", Options(), sweep)
    assert "selected" not in run.read()
    kept = json.loads((run.path / "select.json").read_text())
    assert kept["step"] is None
    assert kept["study"]["headline"].startswith("Not confirmed")


def test_the_prompts_that_confirm_were_seen_by_nothing_before(made):
    run = read(made(world(1, worth=peak(400, 1.0))).path)
    sweep = Sweep()
    kept = kept_back(run, sweep)
    choice = choose(run, Options(keep_back=kept))
    plan = study_of(choice, sweep, trained(run), COLUMN)
    held = {b.block.prompt_id for b in plan.held_out_blocks()}
    assert held == set(kept)
    assert len(held) == 4
    assert not held & {b.block.prompt_id for b in plan.blocks}
    assert not held & {name for name, _ in choice.score.grid.blocks}
    seeds = {b.block.seed for b in (*plan.blocks, *plan.held_out_blocks())}
    assert not seeds & set(trained(run).validation.seeds)


def trained(run):
    from teststrip.config import parse
    from teststrip.train.config import TrainConfig

    return parse(TrainConfig, run.record["config"], "run")


def test_too_few_prompts_leave_the_scale_as_it_was_trained(made, tmp_path):
    made(world(1, worth=peak(400, 1.0), prompts=6), prompts=PROMPTS[:6])
    found = select(Bench(tmp_path, track=False), "ink", Options(), Sweep())
    assert found.scale == 1.0
    assert "needs 8 prompts" in found.note
    assert found.choice.options.keep_back == ()


def test_of_a_large_answer_the_leader_and_some_spread_evenly_are_tried(made):
    run = read(made(world(1, worth=[1.0] * 10)).path)
    choice = choose(run)
    assert len(choice.answer) > 4
    some = tried(choice, Sweep())
    assert len(some) == 4
    assert choice.leader in some
    assert tried(choice, Sweep(checkpoints=1)) == (choice.leader,)


def test_another_weights_file_is_another_study(made):
    run = read(made(world(1, worth=peak(400, 1.0))).path)
    choice = choose(run)
    plan = study_of(choice, Sweep(), trained(run), COLUMN)
    meta = {step: {"sha256": "other"} for step in run.steps}
    other = study_of(replace(choice, run=replace(run, meta=meta)), Sweep(), trained(run), COLUMN)
    assert plan.name != other.name


def test_all_wrong_flags_are_told_at_once(made, tmp_path):
    made(world(1))
    with pytest.raises(ConfigError) as found:
        select(Bench(tmp_path, track=False), "ink", Options(), Sweep(scales=(0.0, 11.0)))
    assert "0" in str(found.value)
    assert "11" in str(found.value)
    with pytest.raises(ConfigError, match="--register"):
        select(Bench(tmp_path), "ink", Options(), register="no/slash")


def test_a_run_without_checkpoints_or_none_at_all_is_one_clear_message(tmp_path, config):
    with pytest.raises(StudyError, match="no training run 'ink'"):
        select(Bench(tmp_path, track=False), "ink", Options())
    run = RunFolder.of(tmp_path, "ink")
    run.write(state="failed", config=config(name="ink").model_dump(mode="json"))
    with pytest.raises(StudyError, match="no checkpoint to select from"):
        select(Bench(tmp_path, track=False), "ink", Options())
    with run.locked(), pytest.raises(StudyError, match="is being trained"):
        select(Bench(tmp_path, track=False), "ink", Options())
