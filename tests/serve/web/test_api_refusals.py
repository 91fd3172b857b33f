"""Bad input, one by one: the documented answer, and nothing else harmed."""

import json

import pytest

from teststrip.errors import GenerationError, MissingExtra
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.web.gate import depth

pytestmark = pytest.mark.anyio
JSON = {"Content-Type": "application/json"}
BAD_BODIES = {
    "not JSON": (b"{prompt: a cat}", 400),
    "half": (b'{"prompt": "a ca', 400),
    "nothing": (b"", 422),
    "a list": (b"[]", 422),
    "a number": (b"7", 422),
    "not UTF-8": (b'{"prompt": "\xff\xfe"}', 400),
    "deep": (b'{"labels": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    "a long number": (b'{"prompt": "a cat", "n": ' + b"9" * 5000 + b"}", 400),
    "half a surrogate": (b'{"prompt": "\\ud800"}', 422),
    "control characters": (b'{"prompt": "a\\u0000cat"}', 422),
    "NaN": (b'{"prompt": "a cat", "recipe": {"guidance": NaN}}', 422),
    "infinite": (b'{"prompt": "a cat", "recipe": {"guidance": 1e999}}', 422),
    "no prompt": (b"{}", 422),
    "blank": (b'{"prompt": "  "}', 422),
    "both": (b'{"prompt": "a", "product": "b"}', 422),
    "template alone": (b'{"prompt": "a", "template": "studio"}', 422),
    "unknown field": (b'{"prompt": "a cat", "stepz": 3}', 422),
    "unknown field in a recipe": (b'{"prompt": "a cat", "recipe": {"stepz": 3}}', 422),
    "unknown field in changes": (b'{"prompt": "a cat", "changes": {"stepz": 3}}', 422),
    "1e9 steps": (b'{"prompt": "a cat", "recipe": {"steps": 1e9}}', 422),
    "steps over the limit": (b'{"prompt": "a cat", "changes": {"steps": 151}}', 422),
    "pixels": (b'{"prompt": "a cat", "changes": {"width": 4096, "height": 4096}}', 422),
    "too many": (b'{"prompt": "a cat", "n": 11}', 422),
    "negative": (b'{"prompt": "a cat", "n": -1}', 422),
    "many seeds": (b'{"prompt": "a cat", "seeds": [1,2,3,4,5,6,7,8,9,10,11]}', 422),
    "a seed twice": (b'{"prompt": "a cat", "seeds": [1, 1]}', 422),
    "a huge seed": (b'{"prompt": "a cat", "seed": 4294967296}', 422),
    "seeds and n": (b'{"prompt": "a cat", "seeds": [1], "n": 1}', 422),
    "another model": (b'{"prompt": "a cat", "recipe": {"model": "/etc"}}', 422),
    "a path as recipe": (b'{"prompt": "a cat", "recipe": "../../etc/passwd"}', 422),
    "a path as template": (b'{"product": "a cat", "template": "../../etc/passwd"}', 422),
    "a champion nobody has": (b'{"prompt": "a cat", "recipe": "champion"}', 422),
    "no version": (b'{"prompt": "a cat", "recipe": "champion@x"}', 422),
    "webhook of files": (b'{"prompt": "a cat", "webhook": "file:///etc/passwd"}', 422),
    "webhook here": (b'{"prompt": "a cat", "webhook": "http://127.0.0.1:8000/"}', 422),
    "webhook inside": (b'{"prompt": "a cat", "webhook": "http://169.254.169.254/x"}', 422),
    "webhook with a password": (b'{"prompt": "a", "webhook": "http://u:p@a.org/"}', 422),
    "webhook that is none": (b'{"prompt": "a cat", "webhook": "http://[::1"}', 422),
    "long labels": (b'{"prompt": "a cat", "labels": {"' + b"a" * 100 + b'": "x"}}', 422),
    "unknown priority": (b'{"prompt": "a cat", "priority": "first"}', 422),
}


@pytest.mark.parametrize(("body", "status"), BAD_BODIES.values(), ids=list(BAD_BODIES))
async def test_a_bad_body_is_told_and_changes_nothing(web, body, status):
    answer = await web.client.post("/api/jobs", content=body, headers=JSON)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:teststrip:")
    assert told["detail"]
    assert len(answer.text) < 3000
    assert await web.parts.state.waiting() == []


async def test_all_faults_are_told_at_once(web):
    wish = {"prompt": "x" * 3000, "n": 40, "recipe": {"model": "other", "steps": 500}}
    told = (await web.client.post("/api/jobs", json=wish | {"webhook": "ftp://a"})).json()
    assert [fault.split(":")[0] for fault in told["faults"]] == [
        "steps",
        "model",
        "n",
        "prompt",
        "webhook",
    ]


async def test_a_hundred_megabytes_are_refused_before_they_are_read(web):
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1600):
            sent += 65536
            yield b"x" * 65536

    told = await web.client.post("/api/jobs", content=endless(), headers=JSON)
    assert told.status_code == 413
    said = await web.client.post("/api/jobs", content=b"x" * 100_000_000, headers=JSON)
    assert said.status_code == 413
    assert said.headers["connection"] == "close"
    assert (await web.client.get("/healthz")).status_code == 200


async def test_what_is_no_json_by_its_type_is_refused(web):
    body = json.dumps({"prompt": "a cat"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await web.client.post("/api/jobs", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 415


async def test_other_sites_and_other_names_of_this_machine_are_refused(web):
    wish = {"prompt": "a cat"}
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = await web.client.post("/api/jobs", json=wish, headers=foreign)
        assert answer.status_code == 403
    async with web.visitor(host="evil.example") as rebound:
        assert (await rebound.get("/api/jobs")).status_code == 421
    assert await web.parts.state.waiting() == []


@pytest.mark.parametrize(
    "name",
    ["1", "0" * 56, "z" * 56, "..%2f..%2fetc%2fpasswd", "%00", "a" * 5000, "job.json", "é"],
)
async def test_a_forged_name_is_unknown(web, name):
    for path in ("", "/images/0.png", "/previews/0.webp"):
        answer = await web.client.get(f"/api/jobs/{name}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await web.client.delete(f"/api/jobs/{name}")).status_code == 404


async def test_a_name_signed_with_another_secret_is_unknown(web):
    job = await web.post()
    other = JobIds(b"another secret of sixteen").named(job["id"][:32], job["accepted"])
    assert (await web.client.get(f"/api/jobs/{other}")).status_code == 404


async def test_a_clock_that_runs_ahead_is_borne_for_five_minutes(web):
    ids, now = web.parts.ids, (await web.post())["accepted"]
    assert (await web.client.get(f"/api/jobs/{ids.named('1' * 32, now + 200)}")).status_code == 200
    assert (await web.client.get(f"/api/jobs/{ids.named('1' * 32, now + 900)}")).status_code == 404


@pytest.mark.parametrize("index", ["-1", "x", "1e3", "99999999999999999999", "0%2f..%2fjob"])
async def test_a_pictures_number_is_a_number(web, index):
    job = await web.post()
    answer = await web.client.get(f"{job['url']}/images/{index}.png")
    assert answer.status_code in (404, 422)


async def test_an_idempotency_key_has_bounds(web):
    for key in ("", "k" * 201):
        answer = await web.client.post(
            "/api/jobs", json={"prompt": "a cat"}, headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 422


async def test_unknown_paths_and_methods_are_problems(web):
    assert (await web.client.get("/api/none")).json()["status"] == 404
    assert (await web.client.put("/api/jobs")).json()["status"] == 405


@pytest.mark.parametrize("fault", [RuntimeError, MissingExtra, GenerationError])
async def test_an_unexpected_fault_tells_nothing_of_itself(web, monkeypatch, caplog, fault):
    async def broken(*_):
        raise fault(*["/secret/path"] * (2 if fault is MissingExtra else 1))

    monkeypatch.setattr(type(web.parts.state), "page", broken)
    answer = await web.client.get("/api/jobs")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "/secret/path" in caplog.text


def test_depth_counts_brackets_outside_texts():
    assert depth(b'{"a": [1, {"b": "[[[[{{{{"}]}') == 3
    assert depth(b'"\\"[[["') == 0
    assert depth(b"]]]") == 0
