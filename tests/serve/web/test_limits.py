"""How often, how much, how many wait: 429 and 503, and when to come back."""

import pytest

from teststrip.serve.web.keys import KeyRing

pytestmark = pytest.mark.anyio


@pytest.fixture
def post(tmp_path):
    """post(web, ring, **limits): a function that posts a wish with a fresh key of these limits."""

    def made(web, ring, **limits):
        _, secret = ring.add("a", **limits)

        async def posted(**wish):
            return await web.client.post(
                "/api/jobs",
                json={"prompt": "a cat"} | wish,
                headers={"Authorization": f"Bearer {secret}"},
            )

        return posted

    return made


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


async def test_requests_a_minute(open_web, ring, post):
    async with open_web(keys=ring) as web:
        slow, other = post(web, ring, per_minute=2), post(web, ring, per_minute=2)
        answers = [await slow() for _ in range(3)]

        assert [a.status_code for a in answers] == [202, 202, 429]
        assert 1 <= int(answers[2].headers["retry-after"]) <= 31
        assert answers[2].json()["type"] == "urn:teststrip:rate-limited"
        assert (await other()).status_code == 202
        text = web.parts.metrics.text().decode()
        assert 'teststrip_jobs_refused_total{why="rate"} 1.0' in text


async def test_pictures_a_day(open_web, ring, post):
    async with open_web(keys=ring) as web:
        mine = post(web, ring, images_per_day=5)
        assert (await mine(n=4)).status_code == 202
        refused = await mine(n=4)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 3600
        assert (await mine(n=1)).status_code == 202


async def test_a_wrong_wish_costs_nothing(open_web, ring, post):
    async with open_web(keys=ring) as web:
        mine = post(web, ring, per_minute=1, images_per_day=1)
        assert (await mine(n=99)).status_code == 422
        assert (await mine()).status_code == 202


async def test_jobs_that_wait_of_one_key(open_web, ring, post):
    async with open_web(keys=ring) as web:
        mine, other = post(web, ring, max_queued=2), post(web, ring)
        answers = [await mine() for _ in range(3)]
        assert [a.status_code for a in answers] == [202, 202, 429]
        assert "retry-after" in answers[2].headers
        assert (await other()).status_code == 202

        for _ in range(3):
            await web.take()
        assert (await mine()).status_code == 202


async def test_a_full_queue(open_web):
    async with open_web(max_queued=2) as web:
        await web.post()
        await web.post()
        told = await web.post(503)
        assert told["type"] == "urn:teststrip:queue-full"
        wishes = {"jobs": [{"prompt": "a cat"}]}
        assert (await web.client.post("/api/batches", json=wishes)).status_code == 503


async def test_a_batch_counts_as_many(open_web, ring, post):
    async with open_web(keys=ring, max_batch=5) as web:
        _, secret = ring.add("b", per_minute=3)
        headers = {"Authorization": f"Bearer {secret}"}

        async def batch(count):
            wishes = {"jobs": [{"prompt": "a cat"}] * count}
            return (await web.client.post("/api/batches", json=wishes, headers=headers)).status_code

        assert [await batch(6), await batch(4), await batch(3), await batch(1)] == [
            422,
            429,
            202,
            429,
        ]


async def test_what_was_accepted_is_found_again_also_over_the_limit(open_web, ring):
    _, secret = ring.add("a", per_minute=1)
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k"}
    async with open_web(keys=ring) as web:
        answers = [
            await web.client.post("/api/jobs", json={"prompt": "a cat"}, headers=headers)
            for _ in range(3)
        ]
        assert [a.status_code for a in answers] == [202, 200, 200]
