"""The first page and a study's page."""

import pytest
from starlette.testclient import TestClient


def test_all_studies_are_on_the_first_page_and_found_by_name(client):
    page = client.get("/", headers={"Accept": "text/html"}).text
    found = client.get("/?q=COL").text

    assert "/studies/colours" in page
    assert "/studies/small" in page
    assert "/studies/colours" in found
    assert "/studies/small" not in found
    assert "No study has" in client.get("/?q=<b>").text


def test_a_study_shows_its_answer_its_images_and_what_varied(client):
    page = client.get("/studies/colours").text
    answer = client.get("/studies/colours/answer").text

    assert "steps" in page
    assert "10, 20, 30" in page
    assert page.count("/thumbs/192/colours/") == 4 + 2  # searched and confirmed prompts
    assert "<h1>" in answer
    assert "prompts" in answer


def test_the_best_images_are_the_best_of_their_prompts(parts):
    from teststrip.studio.home.shown import best

    entry = parts.index.entry("colours")
    keys = best(parts.index, entry, 2)
    rows = parts.index.query(
        f'SELECT image_key, "{entry.objective}" AS score FROM {parts.index.table("colours")}'
    )
    scores = {row["image_key"]: row["score"] for row in rows}

    assert scores[keys[0]] == max(scores.values())
    assert scores[keys[0]] > scores[keys[1]]


def test_an_unknown_study_is_a_page_that_says_so(client):
    answer = client.get("/studies/nothing", headers={"Accept": "text/html"})

    assert answer.status_code == 404
    assert "nothing" in answer.text
    assert client.get("/studies/..%2f..%2fetc").status_code == 404


@pytest.mark.parametrize("path", ["/", "/studies/colours"])
def test_pages_hold_in_a_sub_path(app, path):
    below = TestClient(app, base_url="http://127.0.0.1", root_path="/tools/studio")
    page = below.get(f"/tools/studio{path}").text

    links = [part.split('"')[0] for part in page.replace("src=", "href=").split('href="')[1:]]
    own = [link for link in links if link.startswith("/")]
    assert own
    assert all(link.startswith("/tools/studio/") for link in own)
