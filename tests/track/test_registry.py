"""Champions on a real store: what was registered comes back, and makes the same picture."""

import json
import runpy
from pathlib import Path

import pytest

from teststrip.errors import StorageError
from teststrip.recipe import Block, Recipe, Request

pytest.importorskip("mlflow")

from teststrip.track import registry
from teststrip.track.connection import Connection
from teststrip.track.mlflow import MlflowTracker
from teststrip.track.registry import ALIAS, Registry, lora_files

RECIPE = Recipe(guidance=3, steps=15, scheduler="dpmpp_2m_karras", negative_prompt="grün, 緑")
TAGS = {"study": "demo", "recipe_id": RECIPE.recipe_id, "confirmed": "true"}


def files(recipe=RECIPE, loras=(), **evidence):
    return {
        "recipe.json": recipe.canonical.encode(),
        "evidence.json": json.dumps({"headline": "Confirmed"} | evidence).encode(),
        "model.json": json.dumps({"model": recipe.model, "loras": list(loras)}).encode(),
    }


@pytest.fixture
def register(place, request):
    """`register(recipe, loras, **evidence)` under a model name of this test's own."""
    connection, run_id = place

    def register(recipe=RECIPE, listed=(), loras=None, **evidence):
        content = files(recipe, listed, **evidence)
        return Registry(connection).register(
            request.node.name.partition("[")[0],
            run_id,
            recipe.recipe_id,
            content,
            loras or {},
            TAGS | {"recipe_id": recipe.recipe_id},
        )

    return register


def test_mlflow_itself_finds_the_champion_and_its_files(place, register, tmp_path, monkeypatch):
    from mlflow.artifacts import download_artifacts

    connection, run_id = place
    made = register()

    found = connection.client.get_model_version_by_alias(made.name, "champion")
    assert (str(found.version), found.run_id) == (made.number, run_id)
    assert dict(found.tags).items() >= TAGS.items()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", connection.uri)
    for k, address in enumerate([f"models:/{made.name}@champion", f"models:/{made.name}/1"]):
        folder = tmp_path / str(k)
        folder.mkdir()
        there = Path(download_artifacts(artifact_uri=address, dst_path=str(folder)))
        assert Recipe.model_validate_json((there / "recipe.json").read_bytes()) == RECIPE


def test_a_champion_comes_back_as_it_was_registered(place, register, tmp_path):
    made = register(why="because")

    champion = Registry(place[0]).champion(made.name, tmp_path / "here")

    assert champion.recipe == RECIPE
    assert champion.recipe.recipe_id == RECIPE.recipe_id
    assert champion.recipe_here == RECIPE
    assert champion.evidence == {"headline": "Confirmed", "why": "because"}
    assert (champion.version.number, champion.version.source) == (made.number, made.source)


def test_the_same_again_is_the_same_version(place, register):
    first, again = register(), register()

    assert (again.number, again.is_new) == (first.number, False)
    assert again.tags == first.tags
    assert len(place[0].client.search_model_versions(f"name = '{first.name}'")) == 1


def test_a_new_champion_keeps_the_old_version_and_names_it(place, register, tmp_path):
    client = place[0].client
    old, new = register(), register(Recipe(steps=8))

    aliases = client.get_registered_model(new.name).aliases
    assert {name: str(number) for name, number in aliases.items()} == {ALIAS: new.number}
    assert (old.previous, new.previous) == ("", old.number)
    assert client.get_model_version(old.name, old.number).source == old.source != new.source
    assert Registry(place[0]).champion(new.name, tmp_path).recipe == Recipe(steps=8)

    back = register()
    assert (back.number, back.previous, back.is_new) == (old.number, new.number, False)


def test_later_evidence_never_changes_what_an_earlier_version_holds(place, register, tmp_path):
    connection = place[0]
    first = register(gain=0.1)
    second = register(gain=0.2)

    assert first.source != second.source
    connection.client.set_registered_model_alias(first.name, ALIAS, first.number)
    assert Registry(connection).champion(first.name, tmp_path).evidence["gain"] == 0.1


def test_lora_files_travel_and_are_used_where_the_originals_are_gone(place, register, tmp_path):
    ink = tmp_path / "away" / "ink.safetensors"
    ink.parent.mkdir()
    ink.write_bytes(b"weights")
    loras = [{"path": str(ink), "scale": 0.5}, {"path": "someone/on-the-hub"}]
    recipe = Recipe(loras=loras)
    listed, copies = lora_files(recipe)
    made = register(recipe, listed, copies)

    champion = Registry(place[0]).champion(made.name, tmp_path / "here")
    assert champion.recipe_here == champion.recipe == recipe

    ink.unlink()
    here = champion.recipe_here
    assert Path(here.loras[0].path).read_bytes() == b"weights"
    assert (here.loras[0].scale, here.loras[1].path) == (0.5, "someone/on-the-hub")


def test_a_lora_that_was_not_copied_must_be_here_as_it_was(home, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "MOST_LORA_BYTES", 3)
    ink = tmp_path / "ink.safetensors"
    ink.write_bytes(b"weights")
    recipe = Recipe(loras=[{"path": str(ink)}])
    listed, copies = lora_files(recipe)
    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    store = Registry(Connection(home))
    store.register("x", run_id, recipe.recipe_id, files(recipe, listed), copies, TAGS)

    champion = store.champion("x", tmp_path / "here")
    assert copies == {}
    assert champion.recipe_here == recipe
    ink.write_bytes(b"others!")
    with pytest.raises(StorageError, match="too large to be copied and is not here"):
        _ = champion.recipe_here


def test_what_is_no_champion_is_one_clear_error(home, tmp_path):
    connection = Connection(home)
    store = Registry(connection)
    with pytest.raises(StorageError, match="champion of model 'nobody'"):
        store.champion("nobody", tmp_path)

    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    store.register("other", run_id, "abc", {"weights.bin": b"1"}, {}, {})
    with pytest.raises(StorageError, match="is no champion of ours"):
        store.champion("other", tmp_path)


def test_recipe_and_engine_from_the_registry_make_the_studys_own_picture(
    home, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    import numpy as np

    from teststrip import Engine, png
    from teststrip.cli.main import main

    monkeypatch.setenv("TESTSTRIP_HOME", str(home))
    (tmp_path / "real.yaml").write_text(
        "name: real\n"
        "prompts: {items: [a red apple, an owl, a blue car, a house], held_out: 0.5}\n"
        "seeds: 1\n"
        "recipe: {model: builtin}\n"
        "space: {steps: [4, 6], guidance: [2]}\n"
        "baseline: {scheduler: ddim, steps: 2}\n"
        "scorers: [technical]\n"
        "objectives: [technical.sharpness]\n"
        "race: {start: 2}\n"
    )
    assert main(["study", "run", str(tmp_path / "real.yaml"), "--no-track", "--quiet"]) == 0
    assert main(["study", "confirm", "real", "--no-track", "--quiet"]) == 0
    force = ["--force", "--why", "this test wants it"]
    assert main(["study", "promote", "real", "--model-name", "real", *force]) == 0

    champion = Registry(Connection(home)).champion("real", tmp_path / "here")
    example = champion.model["example"]
    block = Block(prompt=example["prompt"], seed=example["seed"])
    recipe = champion.recipe_here
    with Engine.open(recipe.model, revision=recipe.revision, device="cpu") as engine:
        [made] = engine.generate([Request(recipe=recipe, block=block)])

    assert made.image_key == example["image_key"]
    assert engine.fingerprint == champion.model["fingerprint"]
    [before] = (home / "studies" / "real" / "images").glob(f"*/{made.image_key}.png")
    pixels = png.pixels(before.read_bytes()).astype(int)
    assert np.abs(png.pixels(made.png) - pixels).max() <= 1
    # the diffusers code of `study export` is a file of the version, and makes it too
    ran = runpy.run_path(str(champion.folder / "recipe.py"))
    assert np.abs(np.asarray(ran["image"]) - pixels).max() <= 1
