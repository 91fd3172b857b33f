"""What a name stands for: champions, recipes and templates from files, what workers told."""

from dataclasses import dataclass

import pytest

from teststrip.errors import ConfigError, StorageError
from teststrip.recipe import Recipe
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.job import Champion
from teststrip.serve.state.base import WorkerCard
from teststrip.wire.service import recommended

pytestmark = pytest.mark.anyio


@dataclass
class Crown:
    champion: Champion
    recipe: Recipe


class Champions:
    """As the watch has them: two versions, the newer one is crowned unless `number` says."""

    def __init__(self, number="2"):
        self.number = number

    def current(self):
        return self.version(self.number) if self.number else None

    def version(self, number):
        if number == "9":
            raise StorageError("mlflow.internal:5000 is away")
        if number not in ("1", "2"):
            raise ConfigError(f"champion version {number!r}: there is none")
        return Crown(
            Champion(name="shop", version=number),
            Recipe(steps=10 + int(number), loras=({"path": "registered/lora.safetensors"},)),
        )


async def test_the_default_is_the_champion_and_a_job_keeps_its_own(open_web):
    champions = Champions("1")
    async with open_web(champions=champions) as web:
        before = await web.post()
        champions.number = "2"
        after = await web.post()
        old = await web.post(recipe="champion@1")
        none = await web.post(422, recipe="champion@3")

        assert (before["champion"]["version"], before["recipe"]["steps"]) == ("1", 11)
        assert (after["champion"]["version"], after["recipe"]["steps"]) == ("2", 12)
        assert (old["recipe_name"], old["recipe"]["steps"]) == ("champion@1", 11)
        assert "there is none" in none["faults"][0]
        shown = (await web.client.get(before["url"])).json()
        assert shown["champion"]["version"] == "1"
        recipes = (await web.client.get("/api/recipes")).json()["recipes"]
        assert [(r["name"], r["champion"]["version"]) for r in recipes] == [
            ("default", "2"),
            ("champion", "2"),
        ]


async def test_a_champions_adapter_needs_no_scope_and_changes_keep_it(open_web):
    async with open_web(champions=Champions()) as web:
        job = await web.post(changes={"steps": 5})
        assert job["recipe"]["steps"] == 5
        assert job["recipe"]["loras"][0]["path"] == "registered/lora.safetensors"
        assert job["champion"]["version"] == "2"


async def test_before_anybody_is_crowned_the_model_has_its_own_defaults(open_web):
    async with open_web(champions=Champions("")) as web:
        assert (await web.post())["recipe_name"] == "default"
        told = await web.post(422, recipe="champion")
        assert "nobody is champion yet" in told["faults"][0]


async def test_a_registry_that_is_away_is_no_fault_of_the_wish(open_web):
    async with open_web(champions=Champions()) as web:
        told = await web.post(503, recipe="champion@9")
        assert "mlflow" not in told["detail"]
        await web.post()


async def test_recipes_and_templates_come_from_files(open_web, tmp_path):
    (tmp_path / "r.yaml").write_text("quick: {steps: 4}\ndefault: {steps: 9}\n")
    (tmp_path / "t.yaml").write_text('poster: "a poster of {product}"\n')
    async with open_web(
        recipes_file=tmp_path / "r.yaml", templates_file=tmp_path / "t.yaml"
    ) as web:
        assert (await web.post())["recipe"]["steps"] == 9
        assert (await web.post(recipe="quick"))["recipe"]["steps"] == 4
        product = await web.post(prompt=None, product="tea")
        assert product["prompt"] == "a poster of tea"
        assert "default" in (await web.post(422, recipe="slow"))["faults"][0]


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        ("quick: {stepz: 4}\nslow: {steps: 0}", "quick.stepz.*slow.steps"),
        ("champion: {steps: 4}", "not 'champion'"),
        ("../up: {steps: 4}", "up"),
        ("- a", "map"),
        ("quick: 7", "quick"),
    ],
)
async def test_a_file_with_faults_stops_the_start_with_all_of_them(
    open_web, tmp_path, recipes, words
):
    (tmp_path / "r.yaml").write_text(recipes)
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        async with open_web(recipes_file=tmp_path / "r.yaml"):
            pass


async def test_a_template_without_its_product_stops_the_start(open_web, tmp_path):
    (tmp_path / "t.yaml").write_text('poster: "a poster"\n')
    with pytest.raises(ConfigError, match=r"poster: must be a text that holds \{product\}"):
        async with open_web(templates_file=tmp_path / "t.yaml"):
            pass


async def test_what_the_last_worker_told_is_known_when_it_is_gone(open_web):
    told = {"defaults": {"steps": 3}, "fingerprint": "abc", "width": 64, "height": 64}
    card = WorkerCard("w", 1, 0, 0, 1.0, models={"builtin": told})
    async with open_web() as web:
        await web.parts.state.tell(card, 60)
        assert (await web.post())["recipe"]["steps"] == 3
    async with open_web() as web:
        web.app.state.catalog._cards, web.app.state.catalog._looked = [], float("inf")
        assert (await web.post())["recipe"]["steps"] == 3
        models = (await web.client.get("/api/models")).json()["models"]
        assert (models[0]["fingerprint"], models[0]["workers"]) == ("abc", 0)


async def test_before_a_worker_told_its_model_the_folder_of_the_model_is_believed(open_web):
    async with open_web(recommended=recommended(ServiceConfig())) as web:
        made = await web.post()

        assert (made["recipe"]["steps"], made["recipe"]["guidance"]) == (12, 2)
