"""Thumbs: on the picture at once, in MLflow for its version soon, or when it is back."""

import asyncio
import re
import shutil

import pytest

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import Champion
from teststrip.serve.web.courier import OUTBOX, Courier
from teststrip.serve.web.keys import KeyRing

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory):
    """A migrated but empty sqlite file of MLflow, made once (4 s)."""
    pytest.importorskip("mlflow")
    from teststrip.track.connection import Connection

    home = tmp_path_factory.mktemp("fresh")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert Connection(home, "unused").experiment_id
    return home / "mlflow.db"


@pytest.fixture
def mlflow_home(fresh_store, tmp_path, monkeypatch):
    """The home of `web`, with a store in it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(fresh_store, tmp_path / "mlflow.db")
    return tmp_path


async def done(web, **wish):
    """A job that is done, and its path in the API."""
    job = await web.post(seeds=[7, 9], **wish)
    await web.finish(await web.take())
    return await web.record(job), job["url"]


async def say(web, url, thumb, index=0, status=204):
    answer = await web.client.post(f"{url}/images/{index}/feedback", json={"thumb": thumb})
    assert answer.status_code == status, answer.text
    return answer


async def pressed(web, record):
    """What the card's thumbs show: for each picture up and down."""
    card = (await web.client.get(f"/jobs/{record.id}/card")).text
    return re.findall(r'aria-pressed="(\w+)"', card)


async def test_a_thumb_is_shown_at_once_and_can_be_taken_back(web):
    record, url = await done(web)
    await say(web, url, "up")
    await say(web, url, "down", 1)
    assert await pressed(web, record) == ["true", "false", "false", "true"]
    await say(web, url, None)
    await say(web, url, "up", 1)
    assert await pressed(web, record) == ["false", "false", "true", "false"]


async def test_thumbs_reach_mlflow_for_the_recipe_that_made_the_picture(web, mlflow_home):
    from teststrip.wire.ratings import ratings

    _, first = await done(web, prompt="a cup")
    record, second = await done(web, prompt="a pot")
    await say(web, first, "up", 0)
    await say(web, first, "down", 1)
    await say(web, second, "down", 0)
    await say(web, second, "up", 0)
    courier = Courier(web.parts)
    assert await courier.send() == 4
    assert await courier.send() == 0
    report = ratings(mlflow_home)

    [one] = report.rated
    assert (one.served.model, one.served.version) == ("recipe default", record.recipe.recipe_id)
    assert (one.share.up, one.share.down, one.share.prompts) == (2, 1, 2)
    assert {row.seed for row in report.rows} == {7, 9}


async def test_thumbs_of_a_champion_go_to_its_version(open_web, mlflow_home):
    from teststrip.recipe import Recipe
    from teststrip.wire.ratings import ratings

    class Champions:
        number = "1"

        def current(self):
            return self

        recipe = Recipe(steps=9)

        @property
        def champion(self):
            return Champion(name="shop", version=self.number)

    champions = Champions()
    async with open_web(champions=champions) as web:
        _, older = await done(web)
        champions.number = "2"
        _, newer = await done(web)
        await say(web, older, "down")
        await say(web, newer, "up")
        await Courier(web.parts).send()
        pulse = (await web.client.get("/pulse")).text
        assert "People liked 1 of its 1 rated pictures." in pulse
    shares = {one.served.version: one.share.share for one in ratings(mlflow_home).rated}
    assert shares == {"2": 1.0, "1": 0.0}


async def test_nothing_is_lost_while_mlflow_is_away(web, mlflow_home, monkeypatch):
    from teststrip.wire.ratings import ratings

    _, url = await done(web)
    await say(web, url, "up")
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(StorageError, match="MLflow at"):
            await Courier(web.parts).send()
    await say(web, url, "down", 1)
    assert len(await web.parts.state.things(OUTBOX)) == 2
    assert await Courier(web.parts).send() == 2
    assert ratings(mlflow_home).rated[0].share.count == 2


async def test_the_bell_brings_a_thumb_to_mlflow_without_being_asked(web, mlflow_home):
    courier, stop = Courier(web.parts), asyncio.Event()
    web.app.state.courier = courier
    task = asyncio.create_task(courier.run(stop))
    await asyncio.sleep(0)
    _, url = await done(web)
    await say(web, url, "up")
    while await web.parts.state.things(OUTBOX):
        await asyncio.sleep(0.05)
    stop.set()
    await task


async def test_what_cannot_be_rated_is_told(web):
    job = await web.post()
    await say(web, job["url"], "up", status=404)  # not finished
    await web.finish(await web.take())
    await say(web, job["url"], "up", 1, status=404)
    await say(web, job["url"], "sideways", status=422)
    await say(web, f"/api/jobs/{'0' * 56}", "up", status=404)
    answer = await web.client.post(f"{job['url']}/images/0/feedback", data={"thumb": "up"})
    assert answer.status_code == 415
    answer = await web.client.post(f"{job['url']}/images/0/feedback", json={"thumbs": "up"})
    assert answer.status_code == 422
    assert await web.parts.state.things(OUTBOX) == {}


async def test_others_pictures_cannot_be_rated_and_too_many_thumbs_are_stopped(open_web, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    secrets = [ring.add(name)[1] for name in ("ada", "bob")]
    async with open_web(keys=ring) as web:
        web.client.headers["Authorization"] = f"Bearer {secrets[0]}"
        _, url = await done(web)
        for _ in range(200):
            answer = await web.client.post(f"{url}/images/0/feedback", json={"thumb": "up"})
            if answer.status_code != 204:
                break
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        web.client.headers["Authorization"] = f"Bearer {secrets[1]}"
        await say(web, url, "down", status=404)
