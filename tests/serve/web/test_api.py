"""A job from its wish to its pictures, over HTTP."""

import asyncio
import contextlib
import sqlite3
import time

import httpx
import pytest
import redis.asyncio

from teststrip.errors import StorageError
from teststrip.serve.config import ServiceConfig
from teststrip.serve.state.base import WorkerCard

pytestmark = pytest.mark.anyio
ON_A_PAGE = {"Sec-Fetch-Dest": "image"}  # comes through us, for a page shows its own site only
CARD = WorkerCard(
    name="worker-1",
    slots=4,
    images=0,
    calls_left=0,
    calls_per_s=50.0,
    models={
        "builtin": {
            "fingerprint": "f" * 12,
            "dtype": "fp32",
            "defaults": {"steps": 12, "guidance": 5.0},
            "width": 256,
            "height": 256,
        }
    },
)


@pytest.fixture(params=["one process", pytest.param("apart", marks=pytest.mark.service)])
def parts_of(request, parts_of, tmp_path, namespace):
    """The same laws with RabbitMQ, Redis and an S3 server."""
    if request.param == "one process":
        return parts_of
    from teststrip.wire import service

    s3 = request.getfixturevalue("s3")
    settings = {
        "broker": request.getfixturevalue("broker_url"),
        "redis": request.getfixturevalue("redis_url"),
        "store": f"s3://{s3.bucket}",
        "s3_endpoint": s3.endpoint,
        "secret": "a secret of the tests alone",
        "namespace": namespace,
    }
    return lambda **fields: service.parts(tmp_path, ServiceConfig(**settings | fields), "web")


async def test_a_wish_is_accepted_queued_made_and_fetched(web):
    answer = await web.client.post("/api/jobs", json={"prompt": "a cat", "seeds": [7, 9]})

    assert answer.status_code == 202
    url = answer.headers["location"]
    job = answer.json()
    assert job["url"] == url
    assert (job["state"], job["seeds"], job["position"]) == ("queued", [7, 9], 0)
    assert job["progress"] == {"calls_done": 0, "calls_total": 50}
    assert int(answer.headers["retry-after"]) >= 1

    record = await web.take()
    assert (record.prompt, record.published) == ("a cat", True)
    running = (await web.client.get(url)).json()
    assert (running["state"], running["position"]) == ("running", None)
    assert len(running["previews"]) == 2

    await web.finish(record)
    done = (await web.client.get(url)).json()
    assert (done["state"], [i["seed"] for i in done["images"]]) == ("done", [7, 9])
    picture = await web.client.get(done["images"][1]["url"], headers=ON_A_PAGE)
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    again = await web.client.get(
        done["images"][1]["url"], headers={"If-None-Match": picture.headers["etag"]}
    )
    assert again.status_code == 304
    address = done["images"][1]["url"]
    plain = await web.client.get(address)
    if web.parts.config.redis is not None:  # from the S3 server, by whoever has the address
        assert plain.status_code == 302
        async with httpx.AsyncClient() as anybody:
            plain = await anybody.get(plain.headers["location"])
    file = await web.client.get(f"{address}?download=true")
    assert plain.content == file.content == picture.content
    assert file.headers["content-disposition"].startswith("attachment")


async def test_nothing_is_sent_again_that_did_not_change(web):
    job = await web.post()
    first = await web.client.get(job["url"])
    tag = {"If-None-Match": first.headers["etag"]}

    assert (await web.client.get(job["url"], headers=tag)).status_code == 304
    record = await web.take()
    changed = await web.client.get(job["url"], headers=tag)
    assert changed.status_code == 200
    tag = {"If-None-Match": changed.headers["etag"]}
    await web.parts.state.beat(record.key, record.fence, 60, 10)
    assert (await web.client.get(job["url"], headers=tag)).json()["progress"]["calls_done"] == 10


async def test_a_place_further_ahead_is_news(web):
    jobs = [await web.post() for _ in range(3)]
    first = await web.client.get(jobs[2]["url"])
    assert first.json()["position"] == 2

    await web.take()
    web.app.state.etas._looked = float("-inf")
    tag = {"If-None-Match": first.headers["etag"]}
    assert (await web.client.get(jobs[2]["url"], headers=tag)).json()["position"] == 1


async def test_the_end_is_told_in_model_calls(web):
    await web.parts.state.tell(CARD, 60)
    jobs = [await web.post(recipe={"steps": 10}, n=2) for _ in range(3)]

    web.app.state.etas._looked = float("-inf")
    told = [(await web.client.get(job["url"])).json()["eta_s"] for job in jobs]
    assert told == [0.4, 0.8, 1.2]  # 20 calls each at 50 calls/s


async def test_the_same_key_is_the_same_job(web):
    key = {"Idempotency-Key": "order-1"}
    wish = {"prompt": "a cat", "n": 2}
    first = await web.client.post("/api/jobs", json=wish, headers=key)
    second = await web.client.post("/api/jobs", json=wish, headers=key)
    other = await web.client.post("/api/jobs", json=wish | {"n": 3}, headers=key)

    assert (first.status_code, second.status_code, other.status_code) == (202, 200, 422)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotent-replayed"] == "true"
    assert other.json()["type"] == "urn:teststrip:key-reused"
    assert len(await web.parts.state.waiting()) == 1


async def test_twenty_at_once_with_one_key_make_one_job(web):
    posts = [
        web.client.post("/api/jobs", json={"prompt": "a cat"}, headers={"Idempotency-Key": "k"})
        for _ in range(20)
    ]
    answers = await asyncio.gather(*posts)

    assert {a.status_code for a in answers} == {200, 202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum((await web.parts.queue.depths()).values()) == 1


async def test_products_go_into_templates(web):
    job = await web.post(prompt=None, product="a {red} lamp")
    assert job["prompt"] == (
        "a commercial studio photo of a {red} lamp, professional contrast lighting"
    )
    unknown = await web.post(422, prompt=None, product="a lamp", template="none")
    assert "studio" in unknown["faults"][0]


async def test_the_default_recipe_is_what_the_workers_model_wants(web):
    before = await web.post()
    await web.parts.state.tell(CARD, 60)
    web.app.state.catalog._looked = float("-inf")
    after = await web.post(changes={"guidance": 6})

    assert before["recipe"]["steps"] == 25
    assert (after["recipe"]["steps"], after["recipe"]["guidance"]) == (12, 6)
    models = (await web.client.get("/api/models")).json()["models"]
    assert models[0]["fingerprint"] == "f" * 12
    assert models[0]["workers"] == 1
    recipes = (await web.client.get("/api/recipes")).json()["recipes"]
    assert [r["name"] for r in recipes] == ["default"]
    templates = (await web.client.get("/api/templates")).json()["templates"]
    assert templates[0]["name"] == "studio"


async def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_by_its_worker(web):
    waiting, running = await web.post(), await web.post()
    cancelled = await web.client.delete(running["url"])
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")

    record = await web.take()
    assert record.id == waiting["id"]
    asked = await web.client.post(waiting["cancel_url"])
    assert (asked.status_code, asked.json()["state"]) == (202, "running")
    assert await web.parts.state.cancelled_now([record.key]) == {record.key}
    await web.finish(record)
    late = await web.client.post(waiting["cancel_url"])
    assert (late.status_code, late.json()["state"]) == (200, "done")


async def test_jobs_are_listed_newest_first_in_pages(web):
    posted = [(await web.post())["id"] for _ in range(5)]
    seen, cursor = [], ""
    while True:
        page = (await web.client.get("/api/jobs", params={"limit": 2, "cursor": cursor})).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
        if not cursor:
            break

    assert seen == posted[::-1]
    assert (await web.client.get("/api/jobs?state=done")).json()["jobs"] == []
    assert (await web.client.get("/api/jobs?cursor=none")).status_code == 422


async def test_a_batch_is_all_or_nothing(web):
    wishes = [{"prompt": f"a cat {k}", "seeds": [k]} for k in range(30)]
    answer = await web.client.post("/api/batches", json={"jobs": wishes})
    assert answer.status_code == 202
    assert len({job["id"] for job in answer.json()["jobs"]}) == 30
    assert len(await web.parts.state.waiting()) == 30

    wrong = [*wishes, {"prompt": "a dog", "n": 50}, {"prompt": "a dog", "recipe": "none"}]
    refused = await web.client.post("/api/batches", json={"jobs": wrong})
    assert refused.status_code == 422
    assert [f.split(":")[0] for f in refused.json()["faults"]] == ["jobs.30.n", "jobs.31.recipe"]
    assert len(await web.parts.state.waiting()) == 30


async def test_a_batch_sent_again_makes_nothing_new(web):
    wishes = {"jobs": [{"prompt": "a cat"}, {"prompt": "a dog", "idempotency_key": "dog"}]}
    key = {"Idempotency-Key": "sweep-1"}
    first = (await web.client.post("/api/batches", json=wishes, headers=key)).json()["jobs"]
    second = (await web.client.post("/api/batches", json=wishes, headers=key)).json()["jobs"]
    alone = await web.client.post(
        "/api/jobs", json={"prompt": "a dog"}, headers={"Idempotency-Key": "dog"}
    )

    assert [j["id"] for j in first] == [j["id"] for j in second]
    assert [j["is_new"] for j in second] == [False, False]
    assert alone.json()["id"] == first[1]["id"]


async def test_an_expired_job_is_gone(open_web):
    async with open_web(result_ttl_s=1) as web:
        job = await web.post()
        await web.finish(await web.take(), expires=time.time() - 1)

        answer = await web.client.get(job["url"])
        assert (answer.status_code, answer.json()["type"]) == (410, "urn:teststrip:expired")
        assert (await web.client.get(f"{job['url']}/images/0.png")).status_code == 410


async def test_a_record_that_was_lost_is_told_from_the_store_or_as_being_recovered(web):
    waiting, done = await web.post(), await web.post()
    record = await web.record(done)
    claimed = await web.parts.state.claim(record, "worker-1", 60)
    await web.finish(claimed)
    old = web.parts.ids.named("0" * 32, time.time() - web.parts.config.result_ttl_s - 10)
    await _forget_everything(web.parts)

    found = (await web.client.get(done["url"])).json()
    assert (found["state"], len(found["images"])) == ("done", 1)
    picture = await web.client.get(found["images"][0]["url"], headers=ON_A_PAGE)
    assert picture.status_code == 200
    recovering = await web.client.get(waiting["url"])
    assert recovering.status_code == 200
    assert recovering.json()["state"] == "queued"
    assert "recovered" in recovering.json()["note"]
    assert (await web.client.get(f"/api/jobs/{old}")).status_code == 410
    assert (await web.client.delete(waiting["url"])).status_code == 503


async def _forget_everything(parts):
    if parts.config.redis is None:
        with contextlib.closing(sqlite3.connect(parts.home / "state.db")) as db, db:
            db.execute("DELETE FROM jobs")
        return
    async with redis.asyncio.from_url(parts.config.redis.get_secret_value()) as server:
        keys = [key async for key in server.scan_iter(match=f"*{parts.config.namespace}*")]
        await server.delete(*keys)


async def test_a_picture_that_is_not_there_is_told_why(web):
    job = await web.post(n=2)
    image = f"{job['url']}/images/0.png"
    assert (await web.client.get(image)).json()["type"] == "urn:teststrip:not-finished"
    assert (await web.client.get(f"{job['url']}/images/2.png")).status_code == 404
    assert (await web.client.get(f"{job['url']}/previews/0.webp")).status_code == 404

    record = await web.take()
    await web.parts.state.preview(record.key, 0, b"RIFF")
    preview = await web.client.get(f"{job['url']}/previews/0.webp")
    assert (preview.content, preview.headers["content-type"]) == (b"RIFF", "image/webp")
    await web.finish(record)
    await web.parts.store.delete(f"jobs/{record.key}/")
    assert (await web.client.get(image, headers=ON_A_PAGE)).status_code == 410


async def test_health_names_each_part(web):
    assert (await web.client.get("/healthz")).json() == {"status": "ok"}
    degraded = await web.client.get("/readyz")
    assert degraded.status_code == 200
    assert degraded.json()["status"] == "degraded"
    assert degraded.json()["parts"]["engine"].startswith("no worker")

    await web.parts.state.tell(CARD, 60)
    assert (await web.client.get("/readyz")).json() == {
        "status": "ok",
        "parts": {"queue": "ok", "state": "ok", "store": "ok", "engine": "ok"},
    }
    await web.parts.queue.close()
    away = await web.client.get("/readyz")
    assert (away.status_code, away.json()["parts"]["queue"]) == (503, "away")


async def test_a_queue_that_refuses_leaves_nothing_behind(web):
    await web.parts.queue.close()
    answer = await web.client.post("/api/jobs", json={"prompt": "a cat"})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert await web.parts.state.waiting() == []
    await web.parts.queue.open()
    await web.post()


async def test_a_job_that_is_queued_is_accepted_though_the_state_went_away(web, monkeypatch):
    async def away(*_):
        raise StorageError("away")

    monkeypatch.setattr(type(web.parts.state), "published", away)
    job = await web.post()
    assert (await web.take()).id == job["id"]


async def test_the_numbers_name_routes_and_no_jobs(web):
    job = await web.post()
    await web.client.get(job["url"])
    await web.client.get("/api/nothing/here")
    text = (await web.client.get("/metrics")).text

    assert 'route="/api/jobs/{job_id}",status="200"' in text
    assert 'route="other",status="404"' in text
    assert job["id"] not in text
    assert "teststrip_jobs_accepted_total" in text
