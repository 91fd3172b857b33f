"""Imported folders: pairs by the same prompt where there are some, single images else; said so."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from teststrip.study.votes import stored_votes
from teststrip.wire.importing import import_folder
from teststrip.wire.studio import opened


def picture(path, number, prompt="", steps=0):
    """One picture of an own colour, with A1111's text where it has a prompt."""
    info = PngInfo()
    if prompt:
        words = f"Steps: {steps}, Sampler: Euler, CFG scale: 7, Seed: {number}, Size: 16x16"
        info.add_text("parameters", f"{prompt}\n{words}")
    Image.new("RGB", (16, 16), (5 * number, 20, 3 * steps)).save(path, pnginfo=info)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A client, with name, on two imports: `shared` has prompts in common, `apart` has none."""
    from starlette.testclient import TestClient

    from teststrip.studio.app import create_app

    place = tmp_path_factory.mktemp("imports")
    number = 0
    for name in ("shared", "apart"):
        (place / name).mkdir()
        for prompt in ("a fox", "an owl", ""):
            for steps in (10, 20):
                for _ in range(2):
                    number += 1
                    words = f"{prompt} {steps}" if name == "apart" and prompt else prompt
                    picture(place / name / f"{number}.png", number, words, steps)
        import_folder(place / name, place / "home", name=name, scores=["none"])
    with opened(place / "home") as parts:
        client = TestClient(create_app(parts), base_url="http://127.0.0.1")
        client.get("/healthz")
        client.headers["X-CSRF-Token"] = client.cookies["teststrip_csrf"]
        client.headers["Accept"] = "text/html"
        client.post("/rate/name", data={"rater": "Ana", "study": "shared"})
        yield client, parts
        client.close()


def pairs(client, study):
    asked = {"study": study, "held": [], "ahead": 6, "among": 0}
    return client.post("/rate/pairs", json=asked).json()["next"]


def test_images_of_the_same_prompt_are_pairs_and_the_page_says_what_they_are(own):
    client, parts = own

    text = client.get("/rate?study=shared").text
    found = pairs(client, "shared")

    assert "share their prompt, but not their seed" in text
    assert len(found) == 4
    rows = {
        row["image_key"]: row
        for row in parts.index.query(f"SELECT * FROM {parts.index.table('shared')}")
    }
    for pair in found:
        left, right = rows[pair["left"]], rows[pair["right"]]
        assert left["prompt"] == right["prompt"] == pair["prompt"] != ""
        assert left["recipe_id"] != right["recipe_id"]


def test_their_votes_are_stored_and_ranked_without_scorers(own):
    client, parts = own
    for pair in pairs(client, "shared")[:2]:
        body = {"study": "shared", "held": [], "ahead": 0, "choice": "left"} | pair
        body.pop("prompt")
        assert client.post("/rate/vote", json=body).json()["added"]

    assert len(stored_votes(parts.home / "studies/shared")) == 2
    ranking = client.get("/rate/ranking?study=shared").text
    assert "2 votes on" in ranking
    assert "Which scorer" not in ranking


def test_where_no_prompt_is_shared_there_are_single_images_only(own):
    client, _ = own

    text = client.get("/rate?study=apart").text

    assert pairs(client, "apart") == []
    assert "there are no pairs to compare" in text
    assert text.count('class="shot"') == 12
    assert ">Pairs<" not in text
