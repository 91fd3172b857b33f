"""What a study remembers, what it refuses, and what it does when things break."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml

from teststrip import Study
from teststrip.errors import ConfigError, GenerationError, ModelError, StorageError, StudyError
from teststrip.records import Failure
from teststrip.study.folder import StudyFolder
from teststrip.study.ledger import Ledger
from teststrip.testing.memory import MemoryTracker
from teststrip.testing.synthetic import COLUMN, SyntheticScorer


class Flaky(SyntheticScorer):
    """Breaks on the pictures whose key starts with one of `bad`."""

    def __init__(self, bad="0123"):
        self.bad = bad

    def score(self, generations):
        if any(g.image_key[0] in self.bad for g in generations):
            raise ZeroDivisionError("no score today")
        return super().score(generations)


@pytest.fixture
def make(config, counting, tmp_path):
    """`make(**changes)`: a small study with a generator that counts, in one home."""

    def make(generator=None, scorers=None, tracker=None, **changes):
        generator = generator or counting()
        scorers = scorers if scorers is not None else [SyntheticScorer()]
        return Study(config(**changes), generator, scorers, tmp_path, tracker=tracker), generator

    return make


def test_held_out_prompts_are_never_used_in_the_search(make):
    study, generator = make(design={"kind": "tpe", "trials": 12})
    held = {p.text for p in study.config.prompts.split()[1]}

    result = study.run()

    assert len(held) == 2
    assert not {request.block.prompt for request in generator.calls} & held
    assert set(pd.read_parquet(result.table).split) == {"search"}


def test_an_image_asked_for_by_two_trials_is_made_once(make):
    study, generator = make(design={"kind": "tpe", "trials": 30})

    result = study.run()

    assert result.recipes <= 7, "six points and the baseline, in thirty trials"
    assert len(generator.calls) == len(set(generator.calls)) == result.images
    trials = optuna.load_study(
        study_name="small",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(result.folder / "optuna.journal"))
        ),
    ).trials
    values: dict[str, set[float]] = {}
    for trial in trials:
        values.setdefault(trial.user_attrs["recipe_id"], set()).add(trial.value)
    assert len(trials) == 30
    assert all(t.state.is_finished() for t in trials), "none is left dangling"
    late = [t.user_attrs["recipe_id"] for t in trials[20:]]
    assert all(len(values[i]) <= 2 for i in late), "the same recipe is told the same value"


def test_another_config_is_refused_and_the_message_names_the_difference(make):
    make()[0].run()

    with pytest.raises(StudyError, match="started with another config") as caught:
        make(threshold=0.7, race={"start": 2, "top": 10, "ask": 4})[0].run()

    assert "threshold: was null, now 0.7" in str(caught.value)
    assert "race.top: was 8, now 10" in str(caught.value)


def test_the_budget_stops_a_study_and_may_grow(make):
    first = make(budget={"images": 30})[0].run()
    assert (first.ending, first.images) == ("budget", 26)

    study, generator = make()
    second = study.run()

    assert second.ending == "finished"
    assert second.images == first.images + len(generator.calls)
    with pytest.raises(StudyError, match=r"budget\.images: was null, now 30"):
        make(budget={"images": 30})[0].run()


def test_a_resumed_budget_that_did_not_grow_makes_nothing(make):
    make(budget={"images": 30})[0].run()

    study, generator = make(budget={"images": 30})

    assert study.run().images == 26
    assert generator.calls == []


def test_a_budget_below_the_first_rung_is_wrong_use(make):
    with pytest.raises(ConfigError, match="does not pay for the first rung: 20 images"):
        make(budget={"images": 19})[0].run()


def test_minutes_are_a_budget_too(make, counting):
    class Timed(counting):
        def generate(self, requests, on_progress=None):
            for outcome in super().generate(requests, on_progress):
                yield replace(outcome, seconds=6.0)

    study, generator = make(generator=Timed(), budget={"minutes": 1})

    assert study.run().ending == "budget"
    assert len(generator.calls) == 10
    study, generator = make(generator=Timed(), budget={"minutes": 2})
    study.run()
    assert len(generator.calls) == 10, "what was spent before counts"


def test_two_processes_on_one_study_are_refused(make):
    study, _ = make()
    with study.folder.locked(), pytest.raises(StudyError, match="run by another process") as caught:
        make()[0].run()

    assert f"pid {os.getpid()}" in str(caught.value)


def test_missing_scores_are_made_up_for_on_resume_without_new_images(make):
    result = make()[0].run()
    before = pd.read_parquet(result.table)
    lines = (result.folder / "rows.jsonl").read_text().splitlines()
    kept = [line for i, line in enumerate(lines) if "scores" not in line or i % 3]
    (result.folder / "rows.jsonl").write_text("\n".join(kept) + '\n{"key": "torn')
    (result.folder / "images.parquet").unlink()
    StudyFolder(result.folder).write(state="running")

    study, generator = make()
    again = study.run()

    assert generator.calls == []
    assert again.images_now == 0
    pd.testing.assert_frame_equal(pd.read_parquet(again.table), before)


def test_a_lost_ledger_is_rebuilt_from_the_pictures(make):
    result = make()[0].run()
    before = pd.read_parquet(result.table)
    (result.folder / "rows.jsonl").unlink()
    StudyFolder(result.folder).write(state="running")

    study, generator = make()
    after = pd.read_parquet(study.run().table)

    assert generator.calls == []
    assert after[COLUMN].tolist() == before[COLUMN].tolist()
    assert after.seconds.isna().all(), "what is not known is not made up"


def test_a_torn_journal_is_mended(make):
    result = make(design={"kind": "tpe", "trials": 8})[0].run()
    with (result.folder / "optuna.journal").open("ab") as file:
        file.write(b'{"op_code": 5, "wor')
    StudyFolder(result.folder).write(state="running")

    assert make(design={"kind": "tpe", "trials": 8})[0].run().images_now == 0


def test_a_damaged_study_json_is_one_clear_error(make, tmp_path):
    make()[0].run()
    (tmp_path / "studies/small/study.json").write_text("{")

    with pytest.raises(StudyError, match="cannot be read"):
        make()[0].run()


@pytest.mark.parametrize("bad", ["0", "0123", "0123456789abc"])
def test_a_scorer_that_breaks_gives_null_and_the_reason_and_never_a_number(make, bad):
    study, _ = make(scorers=[Flaky(bad)])
    try:
        table = pd.read_parquet(study.run().table)
    except StudyError as exc:
        assert "baseline has no score" in str(exc)  # noqa: PT017
        return

    broken = table[table.image_key.str[0].isin(list(bad))]
    assert len(broken)
    assert broken[COLUMN].isna().all()
    assert (broken.status == "failed").all()
    assert broken.reason.str.contains("ZeroDivisionError: no score today").all()
    assert table.drop(broken.index)[COLUMN].notna().all()
    assert (table.drop(broken.index).status == "ok").all()


def test_a_scorer_that_breaks_its_contract_stops_the_study(make):
    class Short(SyntheticScorer):
        def score(self, generations):
            return super().score(generations)[1:]

    with pytest.raises(StudyError, match="Short broke its contract"):
        make(scorers=[Short()])[0].run()


def test_failed_images_are_rows_with_a_reason_and_are_tried_again_when_asked(make, counting):
    class Failing(counting):
        def generate(self, requests, on_progress=None):
            for request in requests:
                if request.recipe.steps == 30 and request.block.seed == 0 and not self.healed:
                    yield Failure(request, request.image_key("x"), "out of memory")
                else:
                    yield from super().generate([request], on_progress)

    ill = Failing()
    ill.healed = False
    result = make(generator=ill)[0].run()
    table = pd.read_parquet(result.table)
    failed = table[table.status == "failed"]

    assert result.images_failed == len(failed) > 0
    assert (failed.reason == "out of memory").all()
    assert failed.png.isna().all()
    assert failed[COLUMN].isna().all()
    assert (failed["recipe.steps"] == 30).all()

    well = Failing()
    well.healed = True
    study, _ = make(generator=well)
    assert study.run().images_failed == len(failed), "a finished study is left as it is"
    assert "--retry-failed" in str(result)
    study.retry_failed = True
    again = study.run()

    assert again.images_failed == again.rows_failed == 0
    assert len(well.calls) >= len(failed)


def test_when_nothing_at_all_can_be_made_the_study_gives_up_early(make, counting):
    class Dead(counting):
        def generate(self, requests, on_progress=None):
            for request in requests:
                self.calls.append(request)
                yield Failure(request, request.image_key("x"), "no such model")

    dead = Dead()
    with pytest.raises(GenerationError, match=r"the first 8 images all failed.*no such model"):
        make(generator=dead)[0].run()

    assert len(dead.calls) == 8
    assert make()[0].run().ending == "finished", "and goes on once it is mended"


@pytest.mark.parametrize("kind", ["silent", "twice", "stranger"])
def test_a_generator_that_breaks_its_contract_is_found_out(make, counting, kind):
    class Odd(counting):
        def generate(self, requests, on_progress=None):
            requests = list(requests)
            for i, outcome in enumerate(super().generate(requests, on_progress)):
                if kind != "silent" or i:
                    yield outcome
                if kind == "twice":
                    yield outcome
            if kind == "stranger":
                block = requests[0].block.model_copy(update={"seed": 77})
                other = requests[0].model_copy(update={"block": block})
                yield from super().generate([other], on_progress)

    with pytest.raises(StudyError, match="the generator broke its contract"):
        make(generator=Odd())[0].run()


def test_an_objective_that_no_scorer_gives_is_named_with_what_there_is(make):
    with pytest.raises(ConfigError, match=r"'beauty' is no column .*synthetic@1, seconds"):
        make(objectives=["beauty"])[0].run()


def test_quality_and_seconds_are_two_objectives(make):
    study, _ = make(objectives=["synthetic", "seconds"], design={"kind": "nsga2", "trials": 12})

    result = study.run()

    assert result.ending == "finished"
    assert result.objective == "synthetic@1"
    table = pd.read_parquet(result.table)
    assert table[["synthetic@1", "seconds"]].notna().all().all()
    whole = table.groupby("recipe_id").filter(lambda rows: len(rows) == 8)
    means = whole.groupby("recipe_id")[["synthetic@1", "seconds"]].mean()
    best = means["synthetic@1"].drop(result.baseline.recipe_id).max()
    assert result.best_value >= best - 1e-9, "of those that came farthest, ties by the primary"


def test_a_study_without_recipes_that_keep_the_constraints_says_so(make):
    study, _ = make(
        design={"kind": "tpe", "trials": 4},
        space={"guidance": {"float": [1.5, 9]}, "steps": {"int": [10, 30]}},
        constraints=["steps * guidance < 1"],
    )
    with pytest.raises(StudyError, match="200 recipes in a row broke a constraint"):
        study.run()


def test_refused_recipes_are_failed_trials_and_cost_nothing(make):
    study, generator = make(
        design={"kind": "tpe", "trials": 6},
        space={"guidance": {"float": [1.5, 9]}, "steps": {"int": [10, 30]}},
        constraints=["steps < 15"],
        baseline={"steps": 12},
    )

    result = study.run()

    assert result.recipes == 6, "a sampler begins with the baseline"
    assert all(request.recipe.steps < 15 for request in generator.calls)


def test_the_tracker_hears_of_every_recipe_once_the_study_is_over(make):
    tracker = MemoryTracker()
    study, _ = make(tracker=tracker)

    result = study.run()

    record = tracker.studies["small"]
    table = pd.read_parquet(result.table)
    assert set(record.recipes) == set(table.recipe_id)
    assert record.status == "finished"
    assert record.metrics["images"] == result.images
    assert record.files["images.parquet"] == result.table.read_bytes()
    best = record.recipes[result.best.recipe_id]
    assert len(best["images"]) == best["metrics"]["blocks"] == 8
    assert set(best["params"]) == {"scheduler", "steps"}
    mine = table[table.recipe_id == result.best.recipe_id]
    assert best["metrics"][COLUMN] == pytest.approx(mine.groupby("prompt_id")[COLUMN].mean().mean())


def test_values_of_stopped_recipes_are_measured_against_the_baseline(make):
    """A recipe stopped on four easy blocks must not look better than one that ran on all."""
    study, generator = make(
        generator=None, design={"kind": "grid"}, race={"start": 2, "top": 12, "keep": 1}
    )
    quiet = type(generator)(sd_recipe=0.3, sd_recipe_prompt=0, sd_residual=0)
    study = make(generator=quiet, race={"start": 2, "top": 12, "keep": 1})[0]
    tracker = MemoryTracker()
    study._tracker = tracker
    study.run()

    recipes = tracker.studies["small"].recipes
    assert len({r["metrics"]["blocks"] for r in recipes.values()}) > 1
    truths = {r: quiet.truth(_recipe(study, r)) for r in recipes}
    values = {r: recipes[r]["metrics"][f"{COLUMN}.paired"] for r in recipes}
    shifts = [values[r] - truths[r] for r in recipes]
    assert max(shifts) - min(shifts) == pytest.approx(0, abs=1e-9)


def _recipe(study, recipe_id):
    table = pd.read_parquet(study.folder.table)
    row = table[table.recipe_id == recipe_id].iloc[0]
    return study.config.baseline_recipe.changed(
        scheduler=row["recipe.scheduler"], steps=int(row["recipe.steps"])
    )


def run_cli(path, home, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-m", "teststrip", "study", "run", str(path), "--json", "--no-track"],
        env=os.environ | {"TESTSTRIP_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


@pytest.fixture
def slow_yaml(config, tmp_path):
    path = tmp_path / "small.yaml"
    generator = {"name": "synthetic", "options": {"delay_s": 0.05}}
    path.write_text(yaml.safe_dump(config(generator=generator)))
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_at_the_next_image_with_exit_1_and_says_how_to_go_on(
    slow_yaml, tmp_path, number
):
    home = tmp_path / "home"
    process = run_cli(slow_yaml, home)
    pictures = home / "studies/small/images"
    while process.poll() is None and len(list(pictures.glob("*/*.png"))) < 3:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    made = len(list(pictures.glob("*/*.png")))

    assert process.returncode == 1, err
    assert err.count("\n") == 1
    assert "go on with: teststrip study resume small" in err
    assert "error" in json.loads(out)
    assert made < 20
    assert Study.list(home)[0]["state"] == "stopped"
    assert len(pd.read_parquet(home / "studies/small/images.parquet")) == made
    again = Study.from_yaml(slow_yaml, home=home).run()
    assert again.images_now == again.images - made


def test_a_file_size_limit_is_one_clear_message_and_the_state_is_resumable(slow_yaml, tmp_path):
    """`ulimit -f` refuses writes as a full disk does; the ledger and journal meet it first."""
    import resource

    home = tmp_path / "home"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    process = run_cli(slow_yaml, home, preexec_fn=limit)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1, err
    assert err.count("\n") == 1
    assert "File too large" in err
    again = Study.from_yaml(slow_yaml, home=home).run()
    assert 0 < again.images_now < again.images


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small disk")
def test_a_full_disk_is_one_clear_message_and_freed_space_lets_it_go_on(slow_yaml, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount here")
    try:
        process = run_cli(slow_yaml, home)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
        assert err.count("\n") == 1, err
        assert "the disk is full; free some space and resume" in err
        subprocess.run(["mount", "-o", "remount,size=4m", str(home)], check=True)
        again = Study.from_yaml(slow_yaml, home=home).run()
        assert 0 < again.images_now < again.images
    finally:
        subprocess.run(["umount", str(home)], check=True)


def test_a_folder_that_cannot_be_made_is_one_clear_message(config, tmp_path):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StorageError, match="cannot be written"):
        Study(config(), home=tmp_path / "file").run()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_clear_message(config, tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(StorageError, match="may not be written to"):
        Study(config(), home=tmp_path).run()


def test_a_read_only_disk_is_one_clear_message(config, tmp_path):
    if not Path("/proc/sys").is_dir():
        pytest.skip("no read-only file system at hand")
    with pytest.raises(StorageError):
        Study(config(), home="/proc/sys").run()


def test_a_picture_without_its_line_costs_nothing_and_is_not_made_again(make, tmp_path):
    result = make()[0].run()
    ledger = Ledger(StudyFolder(result.folder), writable=False)
    key = pd.read_parquet(result.table).image_key[0]

    assert ledger.is_made(key)
    assert not math.isnan(ledger.entry(key).made["seconds"])
    with pytest.raises(StorageError, match="read only"):
        ledger.fail(key, "x")


def test_another_model_under_the_same_name_is_refused(make, counting):
    make(budget={"images": 30}, generator=counting(seed=1))[0].run()

    with pytest.raises(StudyError, match="is not the model that it began with"):
        make(generator=counting(seed=2))[0].run()


def test_why_a_study_stopped_is_written_down(make, counting):
    class Dead(counting):
        def fingerprint(self, recipe):
            raise ModelError("no such model here")

    study, _ = make(generator=Dead())
    with pytest.raises(ModelError):
        study.run()

    assert study.state == "stopped"
    assert study.folder.read()["why"] == "no such model here"


def test_the_bar_counts_up_and_saves_what_the_race_stopped(make):
    events = []
    study, _ = make()

    result = study.run(events.append)

    images = [event.images for event in events]
    assert images == sorted(images)
    assert events[-1].kind == "end"
    assert events[-1].images == events[-1].images_expected == result.images
    assert events[-1].images_saved == result.images_saved
    assert events[0].images_saved == 0
    assert {e.kind for e in events} == {"image", "rung", "trial", "end"}


def test_scores_that_failed_are_tried_again_by_the_next_process_without_new_images(make):
    with pytest.raises(StudyError, match="the baseline has no score on 8 of its 8 blocks"):
        make(scorers=[Flaky("0123456789abcdef")])[0].run()
    study, generator = make()

    result = study.run()

    assert not {r.recipe for r in generator.calls if r.block.seed == 0} & {result.baseline}
    table = pd.read_parquet(result.table)
    assert table[COLUMN].notna().all()
    assert (table.reason == "").all()
    assert result.images_now == result.images - 20, "the first rung and the baseline were there"


def test_a_damaged_study_does_not_hide_the_others(make, tmp_path):
    make()[0].run()
    broken = tmp_path / "studies/broken"
    broken.mkdir()
    (broken / "study.json").write_text("{")

    assert [s["state"] for s in Study.list(tmp_path)] == ["damaged", "finished"]
