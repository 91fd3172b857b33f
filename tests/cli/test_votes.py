"""`teststrip study votes`: from a file into the study's folder, and the ranking they give."""

import json
import logging
import threading
from pathlib import Path

import pandas as pd
import pytest
import yaml

from teststrip.errors import ConfigError, StorageError
from teststrip.study import lines
from teststrip.study import votes as stored
from teststrip.study.votes import append_votes, stored_votes
from teststrip.wire.people import votes_of

CONFIG = {
    "name": "small",
    "generator": "synthetic",
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"prompt {i}" for i in range(6)]},
    "seeds": 1,
    "space": {"scheduler": ["ddim", "euler"], "steps": [10, 20]},
    "race": {"kind": "none"},
}


@pytest.fixture
def study(run, tmp_path, monkeypatch) -> Path:
    """The folder of a small study that came to its end."""
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    assert run("study", "run", tmp_path / "small.yaml", "--no-track", "--quiet").code == 0
    return tmp_path / "home/studies/small"


@pytest.fixture
def file(study, tmp_path) -> Path:
    """Votes for the picture that scores higher, the first recipe against each other one."""
    images = pd.read_parquet(study / "images.parquet")
    score = images.set_index(["recipe_id", "prompt_id"])["synthetic@1"]
    recipes = sorted(images["recipe_id"].unique())
    lines = ["prompt_id,seed,left,right,choice,rater"]
    for p, seed in images[["prompt_id", "seed"]].drop_duplicates().itertuples(index=False):
        for n, other in enumerate(recipes[1:]):
            pair = [recipes[0], other][:: 1 if n % 2 else -1]
            better = "left" if score[pair[0], p] > score[pair[1], p] else "right"
            lines.append(f"{p},{seed},{pair[0]},{pair[1][:6]},{better},me")
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(lines))
    return path


def row(name, **changes):
    fields = {"prompt_id": "p", "seed": 0, "left": "a", "right": "b", "choice": "left"}
    return {"id": name, "rater": ""} | fields | changes


def test_votes_are_added_once_and_ranked(run, study, file):
    count = len(file.read_text().splitlines()) - 1

    first = run("study", "votes", "small", file, "--json")
    again = run("study", "votes", "small", file, "--json")
    later = run("study", "votes", "small", "--json")

    assert (first.code, first.err) == (0, "")
    assert (first.json["added"], again.json["added"], later.json["added"]) == (count, 0, 0)
    assert first.json["ranking"] == again.json["ranking"] == later.json["ranking"]
    assert first.json["votes"] == first.json["ranking"]["votes"] == count
    assert len(votes_of(study)) == count
    recipes = first.json["ranking"]["recipes"]
    assert recipes[0]["strength_low"] <= recipes[0]["strength"] <= recipes[0]["strength_high"]
    assert recipes[0]["strength_prompts"] == 6
    assert first.json["scorers"][0]["agrees"] == 1
    assert first.json["scorers"][0]["votes"] == count


def test_text_says_who_leads_on_how_many_votes_and_which_scorer_agrees(run, file):
    answer = run("study", "votes", "small", file)

    assert answer.code == 0
    assert "votes on 6 prompts from 1 rater" in answer.out
    assert "scheduler" in answer.out
    assert "interval by prompt" in answer.out
    assert "synthetic@1 agrees with people on 100 % of" in answer.out
    assert "nan" not in answer.out.lower()


def test_without_votes_it_says_how_to_add_some(run, study):
    answer = run("study", "votes", "small")

    assert answer.code == 0
    assert "no votes yet" in answer.out
    assert run("study", "votes", "small", "--json").json["ranking"] is None


def test_a_file_with_faults_is_wrong_use_and_adds_nothing(run, study, file):
    file.write_text(file.read_text() + "\np9,0,a,b,left,me\n")

    answer = run("study", "votes", "small", file, "--json")

    assert answer.code == 2
    assert any("no prompt of the study" in fault for fault in answer.json["error"]["faults"])
    assert votes_of(study) == []


def test_a_study_that_is_not_there_fails(run, file):
    answer = run("study", "votes", "nobody", file)

    assert answer.code == 1
    assert "no study 'nobody'" in answer.err


def test_votes_that_contradict_stored_ones_are_refused_and_none_is_written(tmp_path):
    append_votes(tmp_path, [row("x")])

    with pytest.raises(ConfigError, match="choice 'left', not 'tie'"):
        append_votes(tmp_path, [row("y"), row("x", choice="tie")])

    assert [v["id"] for v in stored_votes(tmp_path)] == ["x"]


def test_a_torn_last_line_is_no_vote_and_is_written_again(tmp_path):
    """What a crash in the middle of an import leaves."""
    append_votes(tmp_path, [row("x"), row("y")])
    path = tmp_path / stored.VOTES
    path.write_bytes(path.read_bytes()[:-5])
    assert [v["id"] for v in stored_votes(tmp_path)] == ["x"]

    assert append_votes(tmp_path, [row("x"), row("y")]) == 1
    assert [v["id"] for v in stored_votes(tmp_path)] == ["x", "y"]


def test_a_damaged_line_is_left_out_and_said(tmp_path, caplog):
    append_votes(tmp_path, [row("x")])
    with (tmp_path / stored.VOTES).open("a") as lines:
        lines.write('{"id": "half"}\n[]\n')

    with caplog.at_level(logging.WARNING):
        assert [v["id"] for v in stored_votes(tmp_path)] == ["x"]

    assert "line 2 is damaged" in caplog.text


def test_a_stored_vote_that_cannot_be_is_left_out(tmp_path, caplog):
    append_votes(tmp_path, [row("x"), row("y", choice="both"), row("z", right="a")])

    with caplog.at_level(logging.WARNING):
        assert [v.vote_id for v in votes_of(tmp_path)] == ["x"]

    assert "'y'" in caplog.text


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    append_votes(tmp_path, [row("x")])
    before = (tmp_path / stored.VOTES).read_bytes()
    write = lines.os.write

    def full(handle, data):
        write(handle, data[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lines.os, "write", full)
    with pytest.raises(StorageError, match="disk is full"):
        append_votes(tmp_path, [row("y")])

    assert (tmp_path / stored.VOTES).read_bytes() == before


def test_many_writers_lose_nothing_and_double_nothing(tmp_path):
    def write(n):
        for i in range(10):
            append_votes(tmp_path, [row(f"{n}-{i}"), row(f"shared-{i}")])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = [json.loads(line)["id"] for line in (tmp_path / stored.VOTES).read_text().splitlines()]
    assert len(ids) == len(set(ids)) == 50


def test_directions_of_all_scores_reach_the_facts(study):
    record = json.loads((study / "study.json").read_text())

    assert record["higher_is_better"] == {"synthetic@1": True}
