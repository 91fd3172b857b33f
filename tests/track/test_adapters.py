"""Adapters on a real store: MLflow opens them, they come back whole, the same again is the same."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mlflow")

from teststrip.errors import ConfigError, StorageError
from teststrip.recipe import Recipe
from teststrip.track.adapters import _flavour, fetch_adapter, register_adapter
from teststrip.track.connection import Connection
from teststrip.track.mlflow import MlflowTracker
from teststrip.track.registry import ALIAS, Registry, lora_files

CONFIG = {"validation": {"recipe": {"steps": 3, "guidance": 4.0}}, "data": {"size": None}}


def meta(weights: Path, model: str = "someone/a-model", **changes):
    return {
        "format": 1,
        "step": 400,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "base": {"model": model, "revision": "5f2e", "fingerprint": "0123456789abcdef"},
        "dataset_hash": "d4ta",
        "trigger": "in ink, 墨",
        "scale": 0.75,
        "commit": "c0ffee",
        "config": CONFIG,
    } | changes


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    pytest.importorskip("torch")
    from teststrip.testing.tiny import tiny_pipeline

    return tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def weights(base, tmp_path_factory):
    pytest.importorskip("peft")
    from teststrip.testing.tiny_lora import tiny_lora

    return tiny_lora(tmp_path_factory.mktemp("lora"), base)


@pytest.fixture
def name(request):
    return request.node.name.partition("[")[0][:60]


def test_what_is_registered_comes_back_byte_for_byte(place, name, weights, tmp_path):
    connection, run_id = place
    made = register_adapter(connection, name, run_id, weights, meta(weights))

    by_alias = fetch_adapter(connection, f"models:/{name}@challenger", tmp_path / "a")
    by_number = fetch_adapter(connection, f"models:/{name}/1", tmp_path / "b")

    assert (made.number, made.is_new, made.previous) == ("1", True, "")
    assert by_alias.path.read_bytes() == by_number.path.read_bytes() == weights.read_bytes()
    assert by_alias.path.name == f"{by_alias.sha256}.safetensors"
    assert (by_alias.scale, by_alias.number) == (0.75, "1")
    assert by_alias.meta["trigger"] == "in ink, 墨"
    wanted = {
        "base_model": "someone/a-model",
        "base_revision": "5f2e",
        "fingerprint": "0123456789abcdef",
        "weights_sha256": by_alias.sha256,
        "dataset_hash": "d4ta",
        "scale": "0.75",
        "step": "400",
        "commit": "c0ffee",
    }
    assert made.tags.items() >= wanted.items()


def test_mlflow_itself_knows_base_revision_signature_and_lineage(place, name, weights, monkeypatch):
    _flavour()
    from mlflow.models import get_model_info

    connection, run_id = place
    register_adapter(connection, name, run_id, weights, meta(weights))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", connection.uri)
    info = get_model_info(f"models:/{name}@challenger")

    assert info.flavors["diffusers"]["base_model"] == "someone/a-model"
    assert info.flavors["diffusers"]["base_model_revision"] == "5f2e"
    assert info.metadata["weights_sha256"] == meta(weights)["sha256"]
    assert info.metadata["scale"] == 0.75
    assert info.metadata["teststrip"]["commit"] == "c0ffee"
    params = {spec.name: spec.default for spec in info.signature.params}
    assert (params["num_inference_steps"], params["guidance_scale"]) == (3, 4.0)
    assert "width" not in params


def test_mlflows_own_loader_makes_the_engines_picture(home, name, base, weights, monkeypatch):
    import mlflow

    _flavour()

    from teststrip import Block, Engine, Request, png
    from teststrip.testing.plain import pixels_of

    connection = Connection(home)
    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    known = meta(weights, str(base), scale=1.0)
    known["base"] = known["base"] | {"revision": None}
    register_adapter(connection, name, run_id, weights, known)
    fetched = fetch_adapter(connection, f"models:/{name}@challenger", home / "adapters")

    recipe = Recipe(model=str(base), steps=3, loras=[{"path": str(fetched.path)}])
    wanted = Request(recipe=recipe, block=Block(prompt="a cat", seed=3))
    with Engine.open(str(base), dtype="fp32", device="cpu") as engine:
        [ours] = engine.generate([wanted])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", connection.uri)
    loaded = mlflow.diffusers.load_model(f"models:/{name}@challenger")
    import torch

    pipe = loaded.load_pipeline(torch_dtype=torch.float32, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    gap = np.abs(png.pixels(ours.png).astype(int) - pixels_of(pipe, wanted))
    assert gap.max() <= 1


def test_the_same_again_is_the_same_version_and_another_scale_a_new_one(place, name, weights):
    connection, run_id = place
    first = register_adapter(connection, name, run_id, weights, meta(weights))
    again = register_adapter(connection, name, run_id, weights, meta(weights, selected="again"))
    other = register_adapter(connection, name, run_id, weights, meta(weights, scale=1.0))

    assert (again.number, again.is_new) == (first.number, False)
    assert (other.number, other.is_new, other.previous) == ("2", True, "1")
    assert first.source != other.source
    aliases = connection.client.get_registered_model(name).aliases
    assert {key: str(value) for key, value in aliases.items()} == {"challenger": "2"}
    back = register_adapter(connection, name, run_id, weights, meta(weights))
    assert back.number == "1"
    aliases = connection.client.get_registered_model(name).aliases
    assert str(aliases["challenger"]) == "1"


def test_a_file_that_is_here_is_kept_and_one_that_was_spoiled_is_not(home, name, weights, tmp_path):
    connection = Connection(home)
    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    made = register_adapter(connection, name, run_id, weights, meta(weights))
    uri = f"models:/{name}@challenger"
    path = fetch_adapter(connection, uri, tmp_path).path
    inode = path.stat().st_ino

    assert fetch_adapter(connection, uri, tmp_path).path.stat().st_ino == inode
    path.write_bytes(b"spoiled")
    assert fetch_adapter(connection, uri, tmp_path).path.read_bytes() == weights.read_bytes()

    [stored] = Path(made.source.removeprefix("file://").replace("%20", " ").replace(
        "%C3%B6", "ö")).glob("adapter_weights/*")  # fmt: skip
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match="not the one that was registered"):
        fetch_adapter(connection, uri, tmp_path)


def test_a_champions_only_lora_is_an_adapter_too(home, name, weights, tmp_path):
    connection = Connection(home)
    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    recipe = Recipe(loras=[{"path": str(weights), "scale": 0.5}])
    listed, copies = lora_files(recipe)
    facts = {"model": "builtin", "revision": None, "loras": listed}
    files = {"recipe.json": recipe.canonical.encode(), "model.json": json.dumps(facts).encode()}
    Registry(connection).register(name, run_id, recipe.recipe_id, files, copies, {})

    fetched = fetch_adapter(connection, f"models:/{name}@{ALIAS}", tmp_path)

    assert fetched.path.read_bytes() == weights.read_bytes()
    assert fetched.scale == 0.5


def test_wrong_use_is_one_clear_message(home, name, weights, tmp_path):
    connection = Connection(home)
    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})

    for uri in ("models:/x", "models:/@a", "models:/x/one", "runs:/x/1", "models:/a/b@c"):
        with pytest.raises(ConfigError, match="models:/NAME@ALIAS"):
            fetch_adapter(connection, uri, tmp_path)
    with pytest.raises(StorageError, match="fetch models:/nobody@challenger"):
        fetch_adapter(connection, "models:/nobody@challenger", tmp_path)
    with pytest.raises(ConfigError, match="names no base model"):
        register_adapter(connection, name, run_id, weights, meta(weights, base={}))
    with pytest.raises(StorageError, match="was changed after it was made"):
        register_adapter(connection, name, run_id, weights, meta(weights, sha256="0" * 64))
    with pytest.raises(StorageError, match="cannot be read"):
        register_adapter(connection, name, run_id, tmp_path / "no.safetensors", meta(weights))
    Registry(connection).register("other", run_id, "abc", {"weights.bin": b"1"}, {}, {})
    with pytest.raises(StorageError, match="is no adapter of ours"):
        fetch_adapter(connection, "models:/other/1", tmp_path)
