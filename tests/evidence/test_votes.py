"""Votes from a file: every spelling that is accepted, every fault with its line."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teststrip.errors import ConfigError
from teststrip.evidence import votes
from teststrip.evidence.people import Vote
from teststrip.evidence.table import checked

HEADER = "prompt_id,seed,left,right,choice,rater"


@pytest.fixture
def table():
    """Recipes aaaa1111, aaaa2222, bbbb3333 on prompts p0 ("a red apple"), p1 and p2 (same text)."""
    prompts = {"p0": "a red apple", "p1": "a cup", "p2": "a cup"}
    return checked(
        pd.DataFrame(
            [
                {"recipe_id": r, "prompt_id": p, "prompt": prompts[p], "seed": s, "clip@1": 0.5}
                for r in ("aaaa1111", "aaaa2222", "bbbb3333")
                for p in prompts
                for s in (0, 1)
            ]
        )
    )


@pytest.fixture
def written(tmp_path):
    """Write a file of votes, give back its path."""

    def make(text, name="votes.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def plain(found):
    return [(v.prompt_id, v.seed, v.left, v.right, v.choice, v.rater) for v in found]


EXPECTED = [("p0", 0, "a", "b", "left", "me"), ("p1", 7, "b", "a", "tie", "")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("votes.csv", f"{HEADER}\np0,0,a,b,left,me\np1,7,b,a,tie,\n"),
        ("votes.csv", f"\ufeff{HEADER},when\r\np0,0,a,b,1,me,now\r\n\r\np1, 7 ,b,a,0,,now\r\n"),
        ("VOTES.CSV", "choice,right,left,seed,prompt_id,rater\nLEFT,b,a,0,p0,me\nTie,a,b,7,p1,\n"),
        (
            "votes.json",
            '[{"prompt_id": "p0", "seed": 0, "left": "a", "right": "b", "choice": 1, "rater": "me"}'
            ', {"prompt_id": "p1", "seed": "7", "left": "b", "right": "a", "choice": 0}]',
        ),
        (
            "votes.jsonl",
            '{"prompt": "p0", "seed": 0.0, "left": "a", "right": "b", "choice": "left", '
            '"rater": "me"}\n\n{"prompt": "p1", "seed": 7, "left": "b", "right": "a", '
            '"choice": "tie", "rater": null}',
        ),
    ],
)
def test_all_spellings_give_the_same_votes(written, name, text):
    assert plain(votes.read(written(text, name))) == EXPECTED


def test_an_object_with_votes_is_read(written):
    row = {"prompt_id": "p", "seed": 1, "left": "a", "right": "b", "choice": "right"}
    path = written(json.dumps({"study": "x", "votes": [row]}), "votes.json")

    assert plain(votes.read(path)) == [("p", 1, "a", "b", "right", "")]


def test_skipped_pairs_are_dropped(written):
    path = written(f"{HEADER}\np0,0,a,b,skip,\np0,0,a,b,left,\n")

    assert len(votes.read(path)) == 1


def test_ids_are_made_whole_and_prompts_found_by_their_text(written, table):
    path = written("prompt,seed,left,right,choice\na red apple,1,bbbb,aaaa1,2\n")

    assert plain(votes.read(path, table)) == [("p0", 1, "bbbb3333", "aaaa1111", "right", "")]


def test_every_fault_is_named_with_its_line(written, table):
    path = written(
        f"{HEADER}\n"
        "p0,0,aaaa1111,bbbb3333,left,me\n"
        "p0,0,aaaa,bbbb3333,left,me\n"  # two recipes begin so
        "p0,0,aa,bbbb3333,left,me\n"  # too short
        "p0,0,zzzz9999,bbbb3333,left,me\n"
        "p9,0,aaaa1111,bbbb3333,left,me\n"
        "p0,5,aaaa1111,bbbb3333,left,me\n"
        "p0,-1,aaaa1111,bbbb3333,left,me\n"
        "p0,1.5,aaaa1111,bbbb3333,left,me\n"
        "p0,99999999999,aaaa1111,bbbb3333,left,me\n"
        "p0,0,aaaa1111,aaaa1111,left,me\n"
        "p0,0,aaaa1111,bbbb3333,best,me\n"
        ",0,,bbbb3333,left,me\n"
        "p0,0,aaaa1111,bbbb3333\n"
    )

    with pytest.raises(ConfigError) as error:
        votes.read(path, table)

    text = "\n".join(error.value.faults)
    for line, what in (
        (3, "2 recipes begin so"),
        (4, "no recipe of the study"),
        (5, "no recipe of the study"),
        (6, "no prompt of the study"),
        (7, "no image of prompt p0"),
        (8, "whole number"),
        (9, "whole number"),
        (10, "whole number"),
        (11, "the same recipe"),
        (12, "left, right, tie or skip"),
        (13, "prompt_id: is empty"),
        (14, "4 cells"),
    ):
        assert any(f.startswith(f"line {line}:") and what in f for f in error.value.faults), what
    assert "line 2:" not in text


def test_two_prompts_of_the_same_text_must_be_named_by_id(written, table):
    path = written("prompt,seed,left,right,choice\na cup,1,aaaa1111,bbbb3333,2\n")

    with pytest.raises(ConfigError, match="2 prompts have this text"):
        votes.read(path, table)


def test_faults_beyond_the_first_twenty_are_counted(written):
    path = written(HEADER + "\np0,0,a,b,maybe,\n" * 50)

    with pytest.raises(ConfigError, match="50 faults") as error:
        votes.read(path)

    assert len(error.value.faults) == 21
    assert error.value.faults[-1] == "and 30 more"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("votes.txt", "x", ".csv, .json or .jsonl"),
        ("votes.csv", "", "no column prompt_id, seed"),
        ("votes.csv", "prompt_id,seed\n", "no column left, right, choice"),
        ("votes.csv", HEADER + "\n", "holds no votes"),
        ("votes.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("votes.csv", HEADER + '\n"p0,0', "no CSV"),
        ("votes.json", "{", "no JSON"),
        ("votes.json", "[" * 100_000, "no JSON"),
        ("votes.json", "7", "a list of votes"),
        ("votes.json", "[7]", "an object is accepted"),
        ("votes.jsonl", "{}\n{", "line 2: is no JSON"),
        ("votes.jsonl", '{"seed": true, "left": [], "choice": {}}', "seed 'True'"),
        ("votes.jsonl", '{"prompt_id": "\\ud800"}', "cannot be printed"),
    ],
)
def test_what_is_no_file_of_votes_is_refused(written, name, content, message):
    with pytest.raises(ConfigError, match=message):
        votes.read(written(content, name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.csv: cannot be read"):
        votes.read(tmp_path / "none.csv")


def test_files_and_texts_are_bounded(written, monkeypatch):
    long = written(f"{HEADER}\np0,0,{'a' * 300},b,left,\n")
    with pytest.raises(ConfigError, match="300 characters"):
        votes.read(long)

    monkeypatch.setattr(votes, "MAX_VOTES", 2)
    with pytest.raises(ConfigError, match="more than 2 votes"):
        votes.read(written(HEADER + "\np0,0,a,b,left," * 3))
    monkeypatch.setattr(votes, "MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="at most 10"):
        votes.read(long)


def test_a_file_read_twice_gives_the_same_ids_and_a_longer_one_the_same_and_new(written):
    lines = ["p0,0,a,b,left,me", "p0,0,a,b,left,me", "p0,0,b,a,left,me"]

    short = [v.vote_id for v in votes.read(written("\n".join([HEADER, *lines])))]
    longer = [v.vote_id for v in votes.read(written("\n".join([HEADER, *lines, lines[0]])))]

    assert len(set(longer)) == 4
    assert longer[:3] == short


def test_an_own_id_is_kept_and_may_not_come_twice(written):
    path = written("id,prompt_id,seed,left,right,choice\nx1,p,0,a,b,left\n")
    assert votes.read(path)[0].vote_id == "x1"

    path = written("id,prompt_id,seed,left,right,choice\nx1,p,0,a,b,left\nx1,p,0,a,c,left\n")
    with pytest.raises(ConfigError, match="line 3: id 'x1' was used before"):
        votes.read(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["prompt_id", "prompt", "seed", "left", "right", "choice", "rater"]
                ),
                inner,
                max_size=7,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_votes_or_a_config_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "votes.json"
    path.write_text(json.dumps(data))

    try:
        found = votes.read(path)
    except ConfigError:
        return
    assert all(isinstance(vote, Vote) for vote in found)


@given(st.binary(max_size=200))
def test_any_bytes_are_votes_or_a_config_error(tmp_path_factory, data):
    for name in ("votes.csv", "votes.jsonl"):
        path = tmp_path_factory.mktemp("any") / name
        path.write_bytes(HEADER.encode() + b"\n" + data)
        try:
            found = votes.read(path)
        except ConfigError:
            continue
        assert found
