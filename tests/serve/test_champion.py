"""The champion as the service sees it, on a real registry: crowned, followed, pinned, kept."""

import json
import time

import pytest

from teststrip.errors import ConfigError, StorageError
from teststrip.recipe import Recipe
from teststrip.serve.champion import ChampionWatch
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.job import Champion

pytest.importorskip("mlflow")

from teststrip.testing.champions import Crowning
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker

RECIPE = Recipe(guidance=3, steps=15)


@pytest.fixture(scope="module")
def crowning(tmp_path_factory):
    """A real sqlite store: crowning.crown(recipe, name=...)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        made = Crowning(tmp_path_factory.mktemp("store"))
        yield made


@pytest.fixture
def name(request):
    """A model of this test's own."""
    return request.node.name.partition("[")[0]


@pytest.fixture
def watch(crowning, name, monkeypatch, tmp_path):
    """watch(**settings) -> ChampionWatch on the registry, its files in the test's own home."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", crowning.uri)
    opened = []

    def watch(**settings):
        given = {"champion": name, "champion_poll_s": 0.05} | settings
        opened.append(ChampionWatch(ServiceConfig(**given), tmp_path))
        return opened[-1]

    yield watch
    for one in opened:
        one.close()


def until(true):
    while not true():
        time.sleep(0.01)


def test_nobody_is_champion_until_somebody_is_crowned(crowning, watch, name):
    seen = watch()
    assert seen.current() is None
    assert seen.fault == ""

    crowning.crown(name, RECIPE, headline="Confirmed: better")
    until(seen.current)

    found = seen.current()
    assert found.recipe == RECIPE
    assert (found.champion.name, found.champion.version) == (name, "1")
    assert found.champion.run_id == crowning.run_id
    assert found.headline == "Confirmed: better"
    assert found.model["fingerprint"] == "abc"


def test_a_new_champion_is_followed_and_the_old_one_is_still_known(crowning, watch, name):
    crowning.crown(name, RECIPE)
    seen = watch()
    old = seen.current()

    crowning.crown(name, RECIPE.changed(steps=20))
    until(lambda: seen.current() is not old)

    assert seen.current().recipe.steps == 20
    assert seen.current().champion.version == "2"
    assert seen.version("1").recipe.steps == 15
    assert seen.here(old.champion) == RECIPE


def test_a_pinned_version_stays(crowning, watch, name):
    crowning.crown(name, RECIPE)
    crowning.crown(name, RECIPE.changed(steps=20))

    seen = watch(champion_version="1")

    assert seen.current().recipe.steps == 15


def test_the_last_known_champion_serves_while_mlflow_is_away(crowning, watch, name, monkeypatch):
    crowning.crown(name, RECIPE)
    first = watch().current()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    seen = watch()

    assert seen.current().champion == first.champion
    assert seen.current().recipe == RECIPE
    assert "127.0.0.1:9" in seen.fault
    with pytest.raises(StorageError):
        seen.version("77")


def test_an_adapter_comes_along_and_is_found_under_this_machines_path(
    crowning, watch, name, tmp_path
):
    lora = tmp_path / "elsewhere" / "style.safetensors"
    lora.parent.mkdir()
    lora.write_bytes(b"weights of an adapter")
    recipe = RECIPE.changed(loras=[{"path": str(lora), "scale": 0.5}])
    crowning.crown(name, recipe)
    lora.unlink()  # this machine has only what is in the registry

    seen = watch()
    champion = seen.current().champion
    wish = seen.current().recipe.changed(steps=30)
    here = seen.recipe_here(wish, champion)

    assert seen.current().recipe.loras[0].path == str(lora)
    assert here.steps == 30
    assert here.loras[0].scale == 0.5
    with open(here.loras[0].path, "rb") as file:
        assert file.read() == b"weights of an adapter"


def test_versions_that_are_not_there_are_told_apart(crowning, watch, name):
    crowning.crown(name, RECIPE)
    seen = watch()

    with pytest.raises(ConfigError, match="77"):
        seen.version("77")
    with pytest.raises(ConfigError, match="whole number"):
        seen.version("../1")
    with pytest.raises(StorageError, match="serves"):
        seen.here(Champion(name="other", version="1"))


def test_files_are_downloaded_once(crowning, watch, name, tmp_path):
    crowning.crown(name, RECIPE)
    watch()
    (place,) = (tmp_path / "service" / "champions" / name).glob("1-*")
    marked = json.loads((place / "recipe.json").read_text()) | {"steps": 77}
    (place / "recipe.json").write_text(json.dumps(marked))

    assert watch().current().recipe.steps == 77, "read from this machine's folder"


@pytest.mark.anyio
async def test_a_worker_makes_a_job_of_an_old_champion_with_its_adapter(
    crowning, watch, name, tmp_path
):
    lora = tmp_path / "elsewhere" / "style.safetensors"
    lora.parent.mkdir()
    lora.write_bytes(b"weights of an adapter")
    crowning.crown(name, RECIPE.changed(loras=[{"path": str(lora)}]))
    lora.unlink()
    seen = watch()
    old = seen.current()
    crowning.crown(name, RECIPE.changed(steps=20))
    until(lambda: seen.current() is not old)
    paths = []

    class Watched(InstantStepper):
        def add_request(self, request):
            paths.extend(lora.path for lora in request.recipe.loras)
            return super().add_request(request)

    async with one_worker(tmp_path, Watched, champions=seen) as one:
        fields = {"recipe": old.recipe, "champion": old.champion}
        done = await one.ended(await one.send(**fields))
        gone = old.champion.model_copy(update={"name": "another"})
        failed = await one.ended(await one.send(**fields | {"champion": gone}))
        numbers = one.parts.metrics.text().decode()

    assert done.state == "done"
    assert done.recipe == old.recipe, "the record tells the champion as it was registered"
    (path,) = paths
    assert path.startswith(str(tmp_path / "service" / "champions"))
    assert failed.state == "failed"
    assert "this worker serves" in failed.reason
    assert f'teststrip_champion_version{{name="{name}"}} 2.0' in numbers
