"""Compare on the server: images by key, lines of neighbours, tables, evidence, texts to copy."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from teststrip import a1111, png
from teststrip.evidence.compare import compare as compare_recipes
from teststrip.recipe import Recipe
from teststrip.study import Study

HTML = {"Accept": "text/html"}


def rows(parts: Any, study: str = "colours", where: str = "split = 'search'") -> list[Any]:
    """Images of a study in order."""
    table = parts.index.table(study)
    found: list[Any] = parts.index.query(f"SELECT * FROM {table} WHERE {where} ORDER BY image_id")
    return found


def pair(parts: Any) -> list[Any]:
    """Two images of one prompt and seed that differ in steps and scheduler."""
    first = rows(parts)[0]
    second = next(
        row
        for row in rows(parts)
        if (row["prompt_id"], row["seed"]) == (first["prompt_id"], first["seed"])
        and row["recipe.steps"] != first["recipe.steps"]
        and row["recipe.scheduler"] != first["recipe.scheduler"]
        and row["recipe.guidance"] == first["recipe.guidance"]
    )
    return [first, second]


def address(shots: list[Any], path: str = "/compare", study: str = "colours") -> str:
    return f"{path}?study={study}&" + "&".join(f"i={row['image_key']}" for row in shots)


def test_without_a_study_it_offers_studies(client: Any) -> None:
    page = client.get("/compare", headers=HTML)

    assert page.status_code == 200
    assert 'href="/compare?study=colours"' in page.text


def test_without_images_it_offers_pairs_of_one_prompt_and_seed(client: Any, parts: Any) -> None:
    assert "/compare/pairs?study=colours" in client.get("/compare?study=colours").text

    page = client.get("/compare/pairs?study=colours", headers=HTML)

    offered = re.findall(r'href="/compare\?study=colours&amp;i=(\w+)&amp;i=(\w+)"', page.text)
    assert len(offered) >= 6
    by_key = {row["image_key"]: row for row in rows(parts, where="true")}
    ranking = parts.analysis("colours").ranking
    for a, b in offered:
        assert by_key[a]["prompt_id"] == by_key[b]["prompt_id"]
        assert by_key[a]["seed"] == by_key[b]["seed"]
    first = offered[0]
    assert by_key[first[0]]["recipe_id"] == ranking.best
    assert by_key[first[1]]["recipe_id"] == ranking.baseline


def test_pairs_are_offered_while_there_is_no_evidence_yet(client: Any, parts: Any) -> None:
    from teststrip.errors import StudyError
    from teststrip.studio.compare.pairs import offers, roles

    def none_yet(name: str) -> Any:
        raise StudyError(f"{name} has no result yet")

    entry = parts.index.entry("colours")

    found = roles(parts.index, entry, none_yet)

    assert found.baseline == parts.analysis("colours").ranking.baseline
    titles = [offer.title for offer in offers(parts.index, entry, found)]
    assert titles[0] == "Best against baseline"


def test_an_unknown_study_is_not_found(client: Any) -> None:
    assert client.get("/compare?study=nosuch&i=a", headers=HTML).status_code == 404
    assert client.get("/compare/neighbours?study=nosuch&i=a").status_code == 404
    assert client.get("/compare/neighbours?i=a").status_code == 422


def test_an_unknown_key_keeps_its_place_and_the_rest_works(client: Any, parts: Any) -> None:
    known = pair(parts)[0]

    page = client.get(f"/compare?study=colours&i=nosuch'\"<b>&i={known['image_key']}", headers=HTML)

    assert page.status_code == 200
    assert "This study has no image of that key" in page.text
    assert f"/images/colours/{known['image_key']}.png" in page.text
    assert "<b>&" not in page.text
    lines = client.get(f"/compare/neighbours?study=colours&i=nosuch&i={known['image_key']}").json()
    assert lines["images"]["nosuch"] is None
    assert lines["images"][known["image_key"]]["x"]["of"] > 1


def test_at_most_four_images_and_it_says_so(client: Any, parts: Any) -> None:
    page = client.get(address(rows(parts)[:6]), headers=HTML)

    assert len(re.findall(r'<figure class="frame"', page.text)) == 4
    assert "2 more were left out" in page.text


def test_hostile_prompts_stay_text(client: Any, parts: Any) -> None:
    hostile = next(row for row in rows(parts, where="true") if "<script>" in row["prompt"])

    page = client.get(address([hostile, *pair(parts)]), headers=HTML).text

    assert "<script>document" not in page
    assert "&lt;script&gt;document" in page


def test_in_a_grid_a_step_changes_one_setting_alone(client: Any, parts: Any) -> None:
    row = next(r for r in rows(parts) if r["recipe.steps"] == 20)

    lines = client.get(address([row], "/compare/neighbours") + "&x=recipe.steps").json()

    line = lines["images"][row["image_key"]]["x"]
    assert [stop["value"] for stop in line["stops"]] == ["10", "20", "30"]
    assert line["at"] == 1
    for stop in line["stops"]:
        other = rows(parts, where=f"image_key = '{stop['key']}'")[0]
        for name in ("prompt_id", "seed", "recipe.scheduler", "recipe.guidance"):
            assert other[name] == row[name]
    assert line["stops"][0]["changed"] == [["steps", "20", "10"]]
    assert line["stops"][1]["changed"] == []


def test_seed_and_prompt_lines_keep_the_recipe(client: Any, parts: Any) -> None:
    row = rows(parts)[0]

    lines = client.get(address([row], "/compare/neighbours")).json()["images"][row["image_key"]]

    assert {stop["recipe_id"] for stop in lines["seed"]["stops"]} == {row["recipe_id"]}
    assert {stop["prompt_id"] for stop in lines["seed"]["stops"]} == {row["prompt_id"]}
    seeds = [int(stop["seed"]) for stop in lines["seed"]["stops"]]
    assert seeds == sorted(seeds)
    assert len(seeds) == 2
    prompts = [stop["prompt_id"] for stop in lines["prompt"]["stops"]]
    assert len(prompts) == len(set(prompts)) >= 4
    assert lines["prompt"]["stops"][lines["prompt"]["at"]]["key"] == row["image_key"]


def test_where_no_recipe_differs_in_one_setting_alone_the_nearest_says_what_else(
    client: Any, parts: Any, home: Path
) -> None:
    scattered: dict[str, Any] = {
        "name": "scattered",
        "generator": "synthetic",
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "prompts": {"items": ["a cat", "a dog"]},
        "seeds": 1,
        "space": {
            "scheduler": ["ddim", "euler", "pndm"],
            "steps": {"int": [5, 40]},
            "guidance": {"float": [2, 9]},
        },
        "design": {"kind": "sobol", "trials": 8, "seed": 1},
        "race": {"kind": "none"},
    }
    Study(scattered, home=home).run()
    parts.index.refresh(home)
    row = rows(parts, "scattered")[0]

    query = address([row], "/compare/neighbours", "scattered") + "&x=recipe.steps"
    line = client.get(query).json()["images"][row["image_key"]]["x"]

    steps = [int(stop["value"]) for stop in line["stops"]]
    assert steps == sorted(steps)
    others = [stop for stop in line["stops"] if stop["key"] != row["image_key"]]
    assert others
    for stop in others:
        told = {name for name, _, _ in stop["changed"]}
        other = rows(parts, "scattered", f"image_key = '{stop['key']}'")[0]
        real = {
            name
            for name in ("scheduler", "steps", "guidance")
            if other[f"recipe.{name}"] != row[f"recipe.{name}"]
        }
        assert told == real
        assert "guidance" in told  # a space-filling design has no two alike


def test_an_unknown_axis_falls_back_to_one_the_study_has(client: Any, parts: Any) -> None:
    query = address(rows(parts)[:1], "/compare/neighbours")

    answer = client.get(query + '&x=recipe.steps"; DROP TABLE images_1&y=png').json()

    assert answer["x"].startswith("recipe.")
    assert answer["y"].startswith("recipe.")
    assert answer["x"] != answer["y"]


def test_differing_settings_are_told_apart_from_equal_ones(client: Any, parts: Any) -> None:
    told = client.get(address(pair(parts), "/compare/told"), headers=HTML).text

    kinds = dict(re.findall(r'<tr class="(\w+)"><th scope="row">(\w+)', told)[::-1])
    names = re.findall(r'<tr class="(differs|same)"><th scope="row">([\w ]+)', told)
    assert kinds
    assert {name for kind, name in names if kind == "differs"} >= {"steps", "scheduler"}
    assert {name for kind, name in names if kind == "same"} >= {"guidance", "prompt", "seed"}


def test_recipes_are_judged_by_the_evidence_with_n_and_interval(client: Any, parts: Any) -> None:
    a, b = pair(parts)

    part = unescape(client.get(address([a, b], "/compare/evidence"), headers=HTML).text)

    analysis = parts.analysis("colours")
    found = compare_recipes(analysis.grid, b["recipe_id"], a["recipe_id"])
    assert f"on {found.images} blocks of {found.prompts} prompts" in part
    assert "95 % interval" in part
    words = {"better": "B is better than A", "worse": "B is worse than A"}
    assert words.get(found.verdict, "not distinguishable") in part
    both = {a["recipe_id"], b["recipe_id"]}
    wall = re.search(r"/wall\?study=colours&f\.recipe_id=(\w+)%2C(\w+)", part)
    assert wall is not None
    assert set(wall.groups()) == both


def test_images_of_one_recipe_are_not_judged(client: Any, parts: Any) -> None:
    first = rows(parts)[0]
    same = [row for row in rows(parts) if row["recipe_id"] == first["recipe_id"]][:2]

    part = client.get(address(same, "/compare/evidence"), headers=HTML).text

    assert "of one recipe" in part
    page = client.get(address(same), headers=HTML).text
    assert "not a matched pair" in page


def test_settings_come_back_from_each_text(client: Any, parts: Any) -> None:
    row = pair(parts)[0]
    key = row["image_key"]

    part = unescape(client.get(f"/compare/texts?study=colours&i={key}").text)

    texts = dict(re.findall(r'<pre id="(\w+)-\w+"[^>]*>(.*?)</pre>', part, re.DOTALL))
    made = png.read(parts.pictures.original("colours", key))
    assert a1111.from_text(texts["a1111"]).request == made.request
    whole = json.loads(texts["json"])
    assert (whole["prompt"], whole["seed"]) == (row["prompt"], row["seed"])
    assert Recipe.model_validate(whole["recipe"]) == made.request.recipe
    compile(texts["diffusers"], "diffusers.py", "exec")
    assert f"manual_seed({row['seed']})" in texts["diffusers"]


@pytest.mark.parametrize("mode", ["slider", "fade", "blink", "difference", "side", "nosuch"])
def test_the_address_holds_the_mode(client: Any, parts: Any, mode: str) -> None:
    page = client.get(address(pair(parts)) + f"&mode={mode}", headers=HTML).text

    shown = mode if mode != "nosuch" else "slider"
    assert f'class="stage" data-mode="{shown}"' in page


def test_imported_pictures_without_a_seed_are_compared_too(
    client: Any, parts: Any, home: Path, tmp_path: Path
) -> None:
    from PIL import Image, PngImagePlugin

    from teststrip.wire.importing import import_folder

    for k, colour in enumerate(("red", "blue", "green")):
        text = PngImagePlugin.PngInfo()
        seed = "" if k == 2 else f", Seed: {2**60 + k}"
        steps = f"Steps: {10 + k}, Sampler: Euler, CFG scale: 7{seed}, Size: 16x16"
        text.add_text("parameters", f"a cat\n{steps}")
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{k}.png", pnginfo=text)
    import_folder(tmp_path, name="found", home=home)
    parts.index.refresh(home)
    found = rows(parts, "found", "true")

    assert len(found) == 3
    page = client.get(address(found, study="found"), headers=HTML)
    lines = client.get(address(found, "/compare/neighbours", "found") + "&x=recipe.steps").json()
    part = client.get(address(found, "/compare/evidence", "found"), headers=HTML)
    pairs = client.get("/compare/pairs?study=found", headers=HTML)
    texts = client.get(f"/compare/texts?study=found&i={found[2]['image_key']}", headers=HTML)

    assert {page.status_code, part.status_code, pairs.status_code, texts.status_code} == {200}
    assert "not a matched pair" in page.text
    stops = lines["images"][found[0]["image_key"]]["x"]["stops"]
    assert [stop["value"] for stop in stops] == ["10", "11", "12"]
    assert str(2**60 + 1) in {stop["seed"] for stop in stops}
