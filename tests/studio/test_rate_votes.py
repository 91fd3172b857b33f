"""Votes and marks through requests: nothing lost, nothing doubled, nothing told early."""

import json
import re
import threading
from itertools import pairwise

import pandas as pd
import pytest

from teststrip.errors import ConfigError
from teststrip.study import lines
from teststrip.study.marks import MARKS, append_mark, stored_marks
from teststrip.study.votes import VOTES, append_votes, events, merge, stored_votes, undo_vote
from teststrip.wire.people import votes_and_ranking


def row(name, **changes):
    fields = {"prompt_id": "p", "seed": 0, "left": "a", "right": "b", "choice": "left"}
    return {"id": name, "rater": "me"} | fields | changes


@pytest.fixture
def rater(app, home):
    """`rater(name)`: a browser of its own, with a name; votes of earlier tests are gone."""
    from starlette.testclient import TestClient

    for name in (VOTES, MARKS, "votes.sent"):
        (home / "studies/colours" / name).unlink(missing_ok=True)
    made = []

    def make(name):
        client = TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)
        client.get("/healthz")
        client.headers["X-CSRF-Token"] = client.cookies["teststrip_csrf"]
        answer = client.post("/rate/name", data={"rater": name, "study": "colours"})
        assert answer.status_code == 303
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def pairs(client, held=(), ahead=1, study="colours"):
    asked = {"study": study, "held": list(held), "ahead": ahead, "among": 0}
    return client.post("/rate/pairs", json=asked).json()["next"]


def cast(client, pair, choice="left", **more):
    body = {"study": "colours", "held": [], "ahead": 1, "among": 0, "choice": choice}
    body |= {name: pair[name] for name in ("id", "left", "right")} | more
    return client.post("/rate/vote", json=body)


def test_two_raters_at_once_lose_nothing_and_sides_are_balanced(rater, home):
    raters = [rater("Ana"), rater("Bo")]
    faults = []

    def rate(client):
        pair = pairs(client)[0]
        for n in range(40):
            answer = cast(client, pair, ("left", "right", "tie")[n % 3])
            if answer.status_code != 200:
                faults.append(answer.text)
                return
            pair = answer.json()["next"][0]

    threads = [threading.Thread(target=rate, args=(client,)) for client in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    votes = stored_votes(home / "studies/colours")
    assert not faults
    assert len(votes) == len({v["id"] for v in votes}) == 80
    assert {name: sum(v["rater"] == name for v in votes) for name in ("Ana", "Bo")} == {
        "Ana": 40,
        "Bo": 40,
    }
    lean = {}
    for v in votes:
        lean[v["left"]] = lean.get(v["left"], 0) + 1
        lean[v["right"]] = lean.get(v["right"], 0) - 1
    assert max(map(abs, lean.values())) <= 6
    found = votes_and_ranking("colours", home)
    assert found.people.votes == 80
    assert found.people.raters == 2


def test_a_repeated_request_adds_nothing_and_another_choice_is_refused(rater, home):
    client = rater("Ana")
    pair = pairs(client)[0]

    first, again = cast(client, pair), cast(client, pair)
    other = cast(client, pair, "right")

    assert [first.json()["added"], again.json()["added"]] == [True, False]
    assert other.status_code == 422
    assert len(lines.read(home / "studies/colours" / VOTES)) == 1
    assert again.json()["progress"]["done"] == 1


def test_undo_leaves_a_tombstone_and_gives_the_pair_again(rater, home):
    client = rater("Ana")
    pair = pairs(client)[0]
    cast(client, pair)
    asked = {"study": "colours", "id": pair["id"]}

    first = client.post("/rate/undo", json=asked).json()
    again = client.post("/rate/undo", json=asked).json()
    dead = cast(client, pair).json()

    assert (first["pair"]["left"], first["pair"]["right"]) == (pair["left"], pair["right"])
    assert first["pair"]["id"] != pair["id"]
    assert again["pair"] is None
    assert first["progress"]["done"] == 0
    assert dead["added"] is False
    assert stored_votes(home / "studies/colours") == []
    written = lines.read(home / "studies/colours" / VOTES)
    assert [("undo" in line) for line in written] == [False, True]


def test_nobody_takes_back_the_vote_of_another(rater, home):
    ana, bo = rater("Ana"), rater("Bo")
    pair = pairs(ana)[0]
    cast(ana, pair)

    answer = bo.post("/rate/undo", json={"study": "colours", "id": pair["id"]})

    assert answer.status_code == 422
    assert len(stored_votes(home / "studies/colours")) == 1


def test_a_skip_is_no_vote_and_does_not_come_back(rater, home):
    client = rater("Ana")
    skipped = pairs(client)[0]
    reply = cast(client, skipped, "skip", tell=True).json()

    assert stored_votes(home / "studies/colours") == []
    assert reply["progress"]["done"] == 0
    assert reply["told"] is None
    for _ in range(12):
        found = pairs(client)[0]
        assert {found["left"], found["right"]} != {skipped["left"], skipped["right"]}


def test_a_page_is_taken_up_where_it_was_left(rater):
    client = rater("Ana")
    for _ in range(3):
        cast(client, pairs(client)[0])

    text = client.get("/rate?study=colours", headers={"Accept": "text/html"}).text

    assert json.loads(re.search("data-progress='(.*?)'", text)[1])["done"] == 3


def test_what_is_no_pair_is_refused(rater):
    client = rater("Ana")
    pair = pairs(client)[0]

    same = cast(client, pair | {"right": pair["left"]})
    unknown = cast(client, pair | {"right": "../../etc/passwd"})
    choice = cast(client, pair, "both")
    no_id = cast(client, pair | {"id": "<script>"})

    assert [a.status_code for a in (same, unknown, choice, no_id)] == [422] * 4
    assert client.get("/rate?study=nobody").status_code == 404


def test_without_the_token_or_a_name_nothing_is_stored(rater, home, client):
    ana = rater("Ana")
    pair = pairs(ana)[0]
    del ana.headers["X-CSRF-Token"]

    assert cast(ana, pair).status_code == 403
    assert ana.post("/rate/mark", json={}).status_code == 403
    assert cast(client, pair).status_code == 422  # has a token and no name
    assert not (home / "studies/colours" / VOTES).exists()


def test_settings_and_scores_are_told_after_the_vote_only(rater, home):
    client = rater("Ana")
    shown = client.get("/rate?study=colours", headers={"Accept": "text/html"}).text
    pair = pairs(client)[0]

    told = cast(client, pair, tell=True).json()["told"]

    recipes = {
        v[side] for v in stored_votes(home / "studies/colours") for side in ("left", "right")
    }
    assert not any(recipe in shown for recipe in recipes)
    assert set(pair) == {"id", "left", "right", "prompt"}
    assert {"synthetic@1"} < {line["name"] for line in told}
    assert {line["name"] for line in told} & {"steps", "scheduler", "guidance"}


def test_the_ranking_has_its_numbers_and_escapes_what_people_wrote(rater, home):
    client = rater("<b>Ana</b>")
    table = pd.read_parquet(home / "studies/colours/images.parquet")
    whole = table.groupby("recipe_id").size().nlargest(11).index  # judged on every block
    blocks = list(table[["prompt_id", "seed"]].drop_duplicates().itertuples(index=False))
    chain = [
        row(f"{n:024x}", rater="<b>Ana</b>", left=left, right=right)
        | {"choice": ("left", "tie")[n % 2], "prompt_id": block[0], "seed": int(block[1])}
        for n, ((left, right), block) in enumerate(zip(pairwise(whole), blocks * 2, strict=False))
    ]
    append_votes(home / "studies/colours", chain)

    text = client.get("/rate/ranking?study=colours&mine=true").text
    page = client.get("/rate?study=colours", headers={"Accept": "text/html"}).text

    assert "10 votes on" in text
    assert "50 % of 10" in text
    assert "Left side" in text
    assert "synthetic@1" in text
    assert "<b>Ana" not in page
    assert "&lt;b&gt;Ana" in page


def test_marks_are_stored_once_and_the_last_one_holds(rater, home):
    ana, bo = rater("Ana"), rater("Bo")
    image = pairs(ana)[0]["left"]

    def mark(client, name, kind):
        body = {"study": "colours", "id": name * 16, "image": image, "mark": kind}
        return client.post("/rate/mark", json=body)

    answers = [mark(ana, "a", "star"), mark(ana, "a", "star"), mark(bo, "b", "reject")]
    assert [a.json()["added"] for a in answers] == [True, False, True]
    assert stored_marks(home / "studies/colours") == {image: {"Ana": "star", "Bo": "reject"}}
    mark(ana, "c", "")
    assert stored_marks(home / "studies/colours") == {image: {"Bo": "reject"}}
    assert mark(ana, "d", "best").status_code == 422
    starred = bo.get(
        "/rate?study=colours&mode=single&show=reject", headers={"Accept": "text/html"}
    ).text
    assert starred.count('class="shot"') == 1


def test_another_machines_votes_are_taken_over_once(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    append_votes(here, [row("x"), row("y")])
    append_votes(there, [row("y"), row("z"), row("s", choice="skip")])
    undo_vote(there, "y", "me")
    append_mark(there, {"id": "m", "image_key": "k", "mark": "star", "rater": "me"})
    data = (there / VOTES).read_bytes() + b'{"id": "torn'

    assert merge(here / VOTES, data) == 3
    assert merge(here / VOTES, data) == 0
    assert merge(here / MARKS, (there / MARKS).read_bytes()) == 1
    assert [v["id"] for v in stored_votes(here)] == ["x", "z"]
    assert [v["id"] for v in events(here)] == ["x", "z", "s"]
    assert stored_marks(here) == {"k": {"me": "star"}}


def test_only_an_own_vote_can_be_undone(tmp_path):
    append_votes(tmp_path, [row("x")])

    for name, rater in (("y", "me"), ("x", "you")):
        with pytest.raises(ConfigError, match="has none of that id"):
            undo_vote(tmp_path, name, rater)
    assert undo_vote(tmp_path, "x", "me")["id"] == "x"
    assert undo_vote(tmp_path, "x", "me") is None
