"""`teststrip train select`: a real run of the tiny model, selected, recorded, refused."""

import json

import pytest

from teststrip.cli.main import main
from teststrip.train.folder import RunFolder
from teststrip.train.run import start


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def trained(home, config):
    """`trained(steps=20)`: the folder of a real run. Random weights learn the first steps fast."""

    def make(**changes):
        given = {
            "name": "ink",
            "steps": 20,
            "data": {"held_out": 0.4},
            "optimizer": {"lr": 0.02},
            "every": {"checkpoint": 10, "held_out": 10},
        }
        start(config(**(given | changes)), home, track=False)
        return RunFolder.of(home, "ink")

    return make


def test_a_real_run_is_selected_by_its_held_out_loss(trained, capsys):
    run = trained()
    assert main(["train", "select", "ink", "--no-track", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"] in (10, 20)
    assert not found["confirmed"]
    assert "checkpoint x scale was not tried" in found["note"]
    assert run.read()["selected"]["step"] == found["step"]
    base = found["criteria"][0]["steps"][0]
    assert base["step"] == 0
    assert base["n"] >= 4
    assert json.loads((run.path / "select.json").read_text())["why"] == found["why"]


def test_a_run_that_learned_nothing_is_refused_with_exit_1(trained, capsys):
    run = trained(optimizer={"lr": 1e-12})
    assert main(["train", "select", "ink", "--no-track", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "No checkpoint of ink is chosen" in said
    assert "selected" not in run.read()


def test_a_run_without_held_out_pictures_or_prompts_says_what_is_missing(trained, capsys):
    trained(data={"held_out": 0.0})
    assert main(["train", "select", "ink", "--no-track", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "data.held_out above 0" in said
    assert "validation.prompts" in said


def test_wrong_use_is_exit_2(home, capsys):
    assert main(["train", "select", "ink", "--scales", "a,b", "--no-track"]) == 2
    assert "write numbers" in capsys.readouterr().err
    assert main(["train", "select", "ink", "--register", "ink", "--no-track"]) == 2
    assert "--no-track" in capsys.readouterr().err
    assert main(["train", "select", "nobody", "--no-track"]) == 1
    assert "no training run 'nobody'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_selected_adapter_is_registered_once_with_its_lineage(home, trained, capsys):
    from teststrip.track.adapters import fetch_adapter
    from teststrip.track.connection import Connection

    trained()
    wanted = ["train", "select", "ink", "--quiet", "--register", "ink-style", "--json"]
    for _ in range(2):
        assert main(wanted) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["registered"] == "models:/ink-style@challenger (version 1)"
    adapter = fetch_adapter(Connection(home), "models:/ink-style@challenger", home / "here")
    assert adapter.meta["step"] == found["step"]
    assert adapter.meta["dataset_hash"]
    assert adapter.meta["selected"] == found["why"]
