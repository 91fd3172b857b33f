"""The tracker on a real sqlite store: complete, idempotent, resumable, byte for byte."""

import json

import numpy as np
import pytest

from teststrip import png
from teststrip.errors import StorageError
from teststrip.recipe import Block, Recipe, Request
from teststrip.testing.conformance import TrackerConformance
from teststrip.track import names

pytest.importorskip("mlflow")

from teststrip.track.mlflow import MlflowTracker
from teststrip.track.reader import open_study, studies

CONFIG = {
    "name": "demo",
    "space": {"guidance": [3, 7.5]},
    "budget": {"images": 64},
    "prompts": {"inline": ["a <b>red</b> apple", "ein grüner Apfel"]},
}
RECIPE = Recipe(guidance=3, steps=15, scheduler="dpmpp_2m_karras")
METRICS = {"clip_small@1": 0.25, "clip_small@1.low": 0.21, "clip_small@1.high": 0.29}


def picture(seed, recipe=RECIPE):
    request = Request(recipe=recipe, block=Block(prompt="a red apple", seed=seed))
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return png.write(pixels, request, {"image_key": f"key{seed}", "fingerprint": "f" * 12})


def images(*seeds):
    return {f"{seed:03d}-key{seed}.png": picture(seed) for seed in seeds}


def everything(tracker):
    """All that the store holds, less the times at which it was written."""
    client, experiment = tracker._connection.client, tracker._connection.experiment_id
    runs = client.search_runs([experiment], max_results=1000)
    history = {
        run.info.run_id: [
            (m.key, m.value, m.step)
            for name in run.data.metrics
            for m in client.get_metric_history(run.info.run_id, name)
        ]
        for run in runs
    }
    return {
        run.info.run_id: (
            run.info.status,
            run.data.params,
            run.data.tags,
            history[run.info.run_id],
            sorted(
                (f.path, f.file_size)
                for folder in (None, names.IMAGES)
                for f in client.list_artifacts(run.info.run_id, folder)
            ),
        )
        for run in runs
    }


def record(tracker):
    tracker.start_study("demo", CONFIG)
    tracker.log_recipe("demo", RECIPE, {"guidance": 3, "dummy": 0.5}, METRICS, images(0, 1), "done")
    tracker.finish_study(
        "demo", {"images": 2.0}, {"images.parquet": b"table", "report.html": b"<p>"}, "finished"
    )


class TestContract(TrackerConformance):
    @pytest.fixture
    def tracker(self, home):
        return MlflowTracker(home)


def test_a_study_is_a_parent_run_and_a_recipe_a_child_run(home):
    tracker = MlflowTracker(home)
    record(tracker)

    runs = everything(tracker)

    assert len(runs) == 2
    parent_id, parent = next((k, v) for k, v in runs.items() if v[2][names.KIND] == "study")
    child = next(v for v in runs.values() if v[2][names.KIND] == "recipe")
    assert parent[0] == child[0] == "FINISHED"
    assert parent[1]["budget.images"] == "64"
    assert parent[2][names.STATUS] == "finished"
    assert {path for path, _ in parent[4]} == {"config.json", "images.parquet", "report.html"}
    assert child[2][names.PARENT] == parent_id
    assert child[2][names.RECIPE_ID] == RECIPE.recipe_id
    assert child[2][names.RECIPE] == RECIPE.canonical
    assert child[1]["scheduler"] == "dpmpp_2m_karras"
    assert child[1]["dummy"] == "0.5"
    assert {m[0]: m[1] for m in child[3]} == {k.replace("@", ":"): v for k, v in METRICS.items()}


def test_the_same_calls_again_change_nothing(home):
    first = MlflowTracker(home)
    record(first)
    before = everything(first)

    record(first)
    again = MlflowTracker(home)
    record(again)

    assert everything(again) == before


def test_a_killed_study_goes_on_in_its_own_run(home):
    killed = MlflowTracker(home)
    run_id = killed.start_study("demo", CONFIG)
    killed.log_recipe("demo", RECIPE, {}, {"clip_small@1": 0.2}, images(0), "stopped")
    del killed

    resumed = MlflowTracker(home)
    grown = CONFIG | {"budget": {"images": 128}}

    assert resumed.start_study("demo", grown) == run_id
    resumed.log_recipe("demo", RECIPE, {}, {"clip_small@1": 0.3}, images(0, 1), "done")
    resumed.finish_study("demo", {}, {}, "budget")
    runs = everything(resumed)
    assert len(runs) == 2
    child = next(v for v in runs.values() if v[2][names.KIND] == "recipe")
    assert [m[1] for m in child[3]] == [0.2, 0.3]
    assert len([path for path, _ in child[4] if path.startswith("images/")]) == 2


def test_a_finished_study_that_goes_on_is_running_again(home):
    tracker = MlflowTracker(home)
    record(tracker)

    run_id = tracker.start_study("demo", CONFIG | {"budget": {"images": 128}})

    assert everything(tracker)[run_id][0] == "RUNNING"


def test_another_config_of_the_same_name_is_another_study(home):
    tracker = MlflowTracker(home)

    first = tracker.start_study("demo", CONFIG)
    second = tracker.start_study("demo", CONFIG | {"space": {"steps": [5, 10]}})

    assert first != second
    assert tracker.start_study("demo", CONFIG) == first


@pytest.mark.parametrize(
    ("status", "expected"),
    [("done", "FINISHED"), ("stopped", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")],
)
def test_a_recipes_end_is_told_in_mlflows_words(home, status, expected):
    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)

    run_id = tracker.log_recipe("demo", RECIPE, {}, {}, {}, status)

    assert everything(tracker)[run_id][0] == expected


def test_pictures_come_back_byte_for_byte_with_their_settings(home):
    record(MlflowTracker(home))

    study = open_study(home, "demo")
    data = study.png("images/key1.png")

    assert data == picture(1)
    read = png.read(data)
    assert read.request == Request(recipe=RECIPE, block=Block(prompt="a red apple", seed=1))
    with pytest.raises(StorageError, match="no picture 'nothere'"):
        study.png("images/nothere.png")


def test_the_recorded_parameters_make_the_recipe_again(home):
    recipe = Recipe(loras=({"path": "ink.safetensors", "scale": 0.8},), negative_prompt="x" * 7000)
    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)
    tracker.log_recipe("demo", recipe, {}, {}, {"000-key0.png": picture(0, recipe)}, "done")

    study = open_study(home, "demo")
    params = study.recipes()[recipe.recipe_id]["params"]

    assert json.loads(params["loras"]) == [{"path": "ink.safetensors", "scale": 0.8}]
    # what is too long for a parameter says so, and is whole in the picture
    assert len(params["negative_prompt"]) == names.MAX_VALUE
    assert "[cut: 7000 characters, sha256 " in params["negative_prompt"]
    assert png.read(study.png("key0")).request.recipe == recipe


def test_numbers_that_are_none_are_not_recorded(home):
    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)

    run_id = tracker.log_recipe(
        "demo", RECIPE, {}, {"a@1": float("nan"), "b": float("inf"), "c": 0.0}, {}, "done"
    )

    assert [m[0] for m in everything(tracker)[run_id][3]] == ["c"]


def test_evidence_joins_the_recipes_it_is_about(home):
    tracker = MlflowTracker(home)
    record(tracker)

    for _ in range(2):
        tracker.log_evidence("demo", {RECIPE.recipe_id: {"gain": 0.1, "gain.low": 0.05}, "no": {}})

    metrics = open_study(home, "demo").recipes()[RECIPE.recipe_id]["metrics"]
    assert metrics["gain"] == 0.1
    assert metrics["gain.low"] == 0.05


def test_more_than_a_call_may_hold_is_sent_in_parts(home):
    tracker = MlflowTracker(home)
    config = {"name": "big", "space": {f"field{i}": i for i in range(250)}}

    run_id = tracker.start_study("big", config)

    assert len(everything(tracker)[run_id][1]) == 251


def test_studies_are_listed_newest_first(home):
    tracker = MlflowTracker(home)
    for name in ("one", "two"):
        tracker.start_study(name, {"name": name})

    assert [study.name for study in studies(home)] == ["two", "one"]
    with pytest.raises(StorageError, match="no study 'three'"):
        open_study(home, "three")


def test_a_recipe_of_an_unknown_study_is_refused(home):
    with pytest.raises(StorageError, match="never started"):
        MlflowTracker(home).log_recipe("ghost", RECIPE, {}, {}, {}, "done")


def test_a_file_name_that_leaves_its_folder_is_refused(home):
    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)

    with pytest.raises(StorageError, match="plain file name"):
        tracker.finish_study("demo", {}, {"../evil.txt": b"x"}, "finished")


def test_a_real_server_keeps_the_same_record(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    own = "same record"  # the server is other tests' as well
    first = MlflowTracker(tmp_path, own)
    record(first)
    before = everything(first)

    record(MlflowTracker(tmp_path, own))
    study = open_study(tmp_path, "demo", own)

    assert everything(first) == before
    assert len(before) == 2
    assert study.png("images/key1.png") == picture(1)
    assert study.file("images.parquet") == b"table"
    assert not (tmp_path / "mlflow.db").exists()
