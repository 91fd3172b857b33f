"""Run, confirmed and promoted on a real MLflow store: then a picture is made with the champion."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from teststrip import png
from teststrip.cli.main import main

pytest.importorskip("mlflow")

PROMPTS = [f"a studio photo of a fox on background {i}" for i in range(12)]
STUDY = {
    "name": "good",
    "generator": {
        "name": "synthetic",
        "options": {"effects": {"steps": {"best": 6, "width": 1, "height": 3}}},
    },
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": PROMPTS, "held_out": 0.5},
    "seeds": 2,
    "space": {"steps": [2, 4, 6]},
    "baseline": {"model": "builtin", "width": 64, "height": 64, "steps": 2, "guidance": 2.5},
    "race": {"kind": "none"},
}
WHY = "the <b>fair</b> opens tomorrow"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with sqlite MLflow and two champions, one of them promoted by force."""
    home = tmp_path_factory.mktemp("champions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTSTRIP_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        file = home / "good.yaml"
        file.write_text(yaml.safe_dump(STUDY))
        assert main(["study", "run", str(file), "--quiet"]) == 0
        record = json.loads((home / "studies/good/study.json").read_text())
        assert main(["study", "confirm", "good", "--top", "1", "--quiet"]) == 0
        assert main(["study", "promote", "good", "--model-name", "posters"]) == 0
        forced = ["--recipe", record["result"]["baseline_id"], "--force", "--why", WHY]
        assert main(["study", "promote", "good", "--model-name", "flyers", *forced]) == 0
    return home


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return


def test_the_champion_fills_the_form_and_makes_a_picture(browser_page: Any, app: Any) -> None:
    page = browser_page
    page.goto("/playground")
    page.get_by_role("button", name="ask the model registry").click()
    chip = page.get_by_role("link", name="posters: champion, version 1", exact=True)
    chip.wait_for(timeout=30_000)
    chip.click()

    page.get_by_text("Settings of the champion of posters, version 1, from study good.").wait_for()
    assert page.get_by_label("Steps").input_value() == "6"
    assert page.get_by_label("Prompt", exact=True).input_value() in PROMPTS
    page.get_by_label("Seeds, at most").fill("7")
    page.get_by_label("Seeds, at most").press("Control+Enter")
    page.wait_for_url("**job=**")
    job = page.locator('article.pg-job[data-state="done"]').first
    job.wait_for(timeout=120_000)

    desk = app.state.playground
    made = desk.job(re.findall(r"job=([\w-]+)", page.url)[0])
    (image,) = made.images
    asked = png.read(desk.history.picture(made, image.key)).request
    assert (asked.recipe.steps, asked.recipe.guidance, asked.block.seed) == (6, 7.5, 7)
    assert asked.recipe.model == "builtin"
    desk.close()


def test_a_champion_by_force_is_told_apart_and_says_why(client: Any) -> None:
    chips = client.get("/playground/champions").text
    page = client.get("/playground?champion=flyers", headers={"Accept": "text/html"})

    assert "flyers: champion, version 1, promoted by force" in chips
    assert chips.count("chip accent") == 1
    assert page.status_code == 200
    assert "promoted by force: the &lt;b&gt;fair&lt;/b&gt; opens tomorrow" in page.text


def test_a_model_without_champion_is_a_clear_message(client: Any, home: Path) -> None:
    before = sorted((home / "studio").rglob("*"))
    answer = client.get("/playground?champion=../../nobody")

    assert answer.status_code == 503
    assert "champion of model '../../nobody'" in answer.json()["error"]
    assert [p for p in sorted((home / "studio").rglob("*")) if p not in before] == []
