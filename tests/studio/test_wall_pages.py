"""The wall's pages and files over HTTP."""

import csv
import io
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image

from teststrip.studio.wall import picture

AXES = "study=colours&x=recipe.steps&y=recipe.scheduler&f.split=search"


def test_the_page_holds_the_view_of_its_address(client: Any) -> None:
    page = client.get(f"/wall?{AXES}&show=mean&q=fox", headers={"Accept": "text/html"})

    assert page.status_code == 200
    assert '<option value="recipe.steps" selected>' in page.text
    assert 'name="q" id="q" value="fox"' in page.text
    assert "script>document.title" not in page.text


def test_a_wrong_address_is_told_whole(client: Any) -> None:
    answer = client.get("/wall/cells.json?study=colours&x=nothing&sort=luck&f.split=search")

    assert answer.status_code == 422
    assert "x is 'nothing'" in answer.json()["error"]
    assert "sort is 'luck'" in answer.json()["error"]
    assert client.get("/wall?study=none").status_code == 404
    assert client.get("/wall/cells.json?study=colours&x=none&y=none").status_code == 422
    assert client.get("/wall/images.json?study=colours&count=100000").status_code == 422


def test_what_the_filters_make_of_sql_stays_a_value(client: Any) -> None:
    hostile = "x') OR 1=1; DROP TABLE images_1; --"

    answer = client.get(
        "/wall/images.json", params={"study": "colours", "f.recipe_id": hostile, "q": hostile}
    )

    assert answer.json()["counts"]["total"] == 0
    assert client.get('/wall/images.json?study=colours&f.seed"=1').status_code == 422
    assert client.get("/wall/images.json?study=colours").json()["counts"]["total"] > 0


def test_the_same_wall_is_not_sent_twice(client: Any) -> None:
    first = client.get(f"/wall/cells.json?{AXES}")
    again = client.get(f"/wall/cells.json?{AXES}", headers={"If-None-Match": first.headers["etag"]})

    assert again.status_code == 304
    assert (
        client.get(f"/wall/cells.json?{AXES}&sort=seconds").headers["etag"]
        != (first.headers["etag"])
    )


def test_the_address_in_the_answer_gives_the_same_answer(client: Any) -> None:
    first = client.get("/wall/cells.json?study=colours").json()

    again = client.get(f"/wall/cells.json?{first['address']}").json()

    # sums of threads differ in their last digit
    numbers, same = [[c[:10] for c in wall.pop("cells")] for wall in (first, again)]
    assert first == again
    assert len(numbers) == len(same) > 0
    assert all(a == pytest.approx(b) for a, b in zip(numbers, same, strict=True))
    assert dict(parse_qsl(first["address"]))["f.split"] == "search"


def test_one_image_has_its_settings_scores_and_the_baselines_image(client: Any) -> None:
    key = client.get("/wall/images.json?study=colours&f.recipe.steps=30").json()["images"][0]["key"]

    image = client.get(f"/wall/image.json?study=colours&i={key}").json()

    assert {s["label"]: s["value"] for s in image["settings"]}["steps"] == "30"
    assert {s["label"]: s["baseline"] for s in image["settings"]}["steps"] == "20"
    twin = client.get(f"/wall/image.json?study=colours&i={image['baseline_key']}").json()
    assert twin["is_baseline"]
    assert (twin["prompt_id"], twin["seed"]) == (image["prompt_id"], image["seed"])
    assert client.get("/wall/image.json?study=colours&i=../../etc").status_code == 404


def test_csv_and_json_have_the_numbers_of_the_wall(client: Any) -> None:
    wall = client.get(f"/wall/cells.json?{AXES}").json()
    table = client.get(f"/wall/export.csv?{AXES}")
    data = client.get(f"/wall/export.json?{AXES}").json()

    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert "attachment" in table.headers["content-disposition"]
    assert len(rows) == len(data["cells"]) == len(wall["cells"]) == 6
    assert [float(r["mean"]) for r in rows] == pytest.approx([c[6] for c in wall["cells"]])
    assert data["cells"][0]["matched"][0]["image_key"] == wall["cells"][0][10][0][1]


def test_csv_of_images_holds_no_formula(client: Any) -> None:
    text = client.get("/wall/export.csv?study=colours&x=none&y=none").text
    rows = list(csv.DictReader(io.StringIO(text)))

    whole = client.get("/wall/images.json?study=colours&x=none&y=none").json()
    assert len(rows) == whole["counts"]["total"]
    assert not any(str(v).startswith(("=", "+", "@")) for row in rows for v in row.values())


def test_the_picture_has_labels_and_images(client: Any) -> None:
    answer = client.get(f"/wall/export.png?{AXES}")

    drawn = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "image/png"
    assert drawn.width > 600
    assert len(drawn.getcolors(1 << 24) or []) > 50


def test_a_picture_too_large_is_refused_with_its_size(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MOST_PIXELS", 100_000)

    answer = client.get(f"/wall/export.png?{AXES}")

    assert answer.status_code == 422
    assert "this picture would be" in answer.json()["error"]


def test_the_plain_table_has_every_cell_and_escapes_prompts(client: Any) -> None:
    page = client.get(f"/wall/table?{AXES}", headers={"Accept": "text/html"}).text
    prompts = client.get("/wall/table?study=colours&x=prompt&y=recipe.steps").text

    assert page.count(" prompts, ") == 6
    assert "&lt;script&gt;" in prompts
    assert "<script>document" not in prompts


def test_every_number_of_the_json_is_finite(client: Any) -> None:
    for query in (AXES, "study=small&x=recipe.steps&y=seed", "study=colours&y=recipe_id"):
        text = client.get(f"/wall/cells.json?{query}").text
        json.loads(text, parse_constant=pytest.fail)


def test_links_of_the_page_stay_in_the_sub_path(app: Any) -> None:
    from starlette.testclient import TestClient

    below = TestClient(app, base_url="http://127.0.0.1", root_path="/lab")
    page = below.get(f"/lab/wall?{AXES}", headers={"Accept": "text/html"}).text

    links = [part.split('"')[0] for part in page.split('href="')[1:]]
    assert links
    assert all(urlsplit(link).path.startswith("/lab") or link.startswith("#") for link in links)
