"""Commands: a checkpoint exported, an adapter of the registry in `image generate`."""

import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch

from teststrip import png
from teststrip.cli.main import main
from teststrip.engine import loading
from teststrip.errors import ConfigError
from teststrip.testing.tiny_lora import tiny_lora
from teststrip.train import checkpoints
from teststrip.train.folder import RunFolder


@pytest.fixture
def lora(tiny: Path, tmp_path: Path) -> Path:
    return tiny_lora(tmp_path / "lora", tiny)


@pytest.fixture
def meta(tiny: Path) -> dict[str, object]:
    base = {"model": str(tiny), "revision": None, "fingerprint": loading.fingerprint(tiny)}
    return {"base": base, "dataset_hash": "d4ta", "trigger": "ink", "scale": 1.0, "config": {}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


def test_export_prints_what_was_written_and_measured(home, lora, meta, capsys):
    folder = RunFolder.of(home, "ink")
    folder.path.mkdir(parents=True)
    folder.write(state="finished", selected={"step": 5, "scale": 0.5, "why": "it was best"})
    with safetensors.safe_open(lora, "pt") as opened:
        adapter = json.loads(opened.metadata()["lora_adapter_metadata"])
    checkpoints.write(folder.path, 5, safetensors.torch.load_file(lora), adapter, meta)

    assert main(["train", "export", "ink", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert main(["train", "export", "ink", "--format", "comfyui", "--out", "here"]) == 0
    text = capsys.readouterr().out
    assert main(["train", "export", "ink", "--step", "6", "--json"]) == 2

    assert (shown["step"], shown["scale"], shown["trigger"]) == (5, 0.5, "ink")
    assert [file["format"] for file in shown["files"]] == ["diffusers", "kohya"]
    assert all(Path(file["path"]).is_file() for file in shown["files"])
    assert all(file["numbers"]["difference"] < 1e-4 for file in shown["files"])
    assert "selected: it was best" in text
    assert Path("here/ink-000005-s0.5-comfyui.safetensors").is_file()


def test_image_generate_takes_files_and_addresses_of_the_registry(home, tiny, lora, meta, capsys):
    pytest.importorskip("mlflow")
    from teststrip.track.adapters import register_adapter
    from teststrip.track.connection import Connection
    from teststrip.track.mlflow import MlflowTracker

    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    register_adapter(Connection(home), "ink", run_id, lora, meta | {"scale": 0.5})

    def picture(*loras: str) -> dict:
        flags = [word for text in loras for word in ("--lora", text)]
        command = ["image", "generate", "a cat", "--model", str(tiny), "--steps", "2", "--json"]
        capsys.readouterr()
        assert main([*command, "--dtype", "fp32", "--device", "cpu", *flags]) == 0
        (row,) = json.loads(capsys.readouterr().out)["images"]
        return row

    named, strong = picture("models:/ink@challenger"), picture("models:/ink/1:0.9")
    by_file, both = picture(f"{lora}:0.5"), picture(f"{lora}:0.5", "models:/ink/1:-0.5")
    none = picture()

    def pixels(row: dict) -> object:
        return png.pixels(Path(row["file"]).read_bytes()).tolist()

    (resolved,) = named["recipe"]["loras"]
    assert Path(resolved["path"]).parent == home.resolve() / "adapters"
    assert (resolved["scale"], strong["recipe"]["loras"][0]["scale"]) == (0.5, 0.9)
    assert pixels(named) == pixels(by_file) != pixels(none)
    assert pixels(strong) != pixels(named)
    assert pixels(both) == pixels(none)
    command = ["image", "generate", "a cat", "--model", str(tiny), "--json"]
    assert main([*command, "--lora", "models:/ink"]) == ConfigError.exit_code
    assert "models:/NAME@ALIAS" in json.loads(capsys.readouterr().out)["error"]["message"]
