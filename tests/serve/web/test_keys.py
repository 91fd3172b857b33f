"""API keys: made, found, taken away; what each may do; links and sessions."""

import asyncio
import json

import pytest

from teststrip.errors import ConfigError
from teststrip.serve.web import keys as keys_module
from teststrip.serve.web.callers import COOKIE, caller_of
from teststrip.serve.web.keys import KeyRing, check_bind


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_the_file_holds_no_secret(ring, tmp_path):
    key, secret = ring.add("web shop", ["generate"], per_minute=60)

    text = (tmp_path / "keys.json").read_text()
    assert secret not in text
    assert secret[8:] not in text
    assert ring.find(secret) == key
    assert (key.name, key.scopes, key.per_minute) == ("web shop", ("generate",), 60)
    assert key.prefix == secret[:8]
    assert key.hash not in repr(key)


def test_a_wrong_secret_finds_nobody(ring):
    _, secret = ring.add("a")
    for wrong in ("", secret[:-1], secret + "x", secret.upper(), "é", "\udc80"):
        assert ring.find(wrong) is None


def test_a_key_is_taken_away_by_id_or_by_a_name_that_only_it_has(ring):
    first, secret = ring.add("same")
    second, _ = ring.add("same")
    with pytest.raises(ConfigError, match="2 keys"):
        ring.revoke("same")
    ring.revoke(first.id)
    assert ring.find(secret) is None
    assert ring.revoke("same").id == second.id
    with pytest.raises(ConfigError, match="no key"):
        ring.revoke("same")


@pytest.mark.parametrize("fault", [{"name": ""}, {"scopes": ["all"]}, {"scopes": []}])
def test_a_key_with_faults_is_not_made(ring, fault):
    with pytest.raises(ConfigError):
        ring.add(**{"name": "a"} | fault)
    assert list(ring.list()) == []


async def change_seen(ring):
    ring._looked = float("-inf")
    await ring.refresh()


@pytest.mark.anyio
async def test_a_change_of_the_file_is_seen_and_a_broken_file_changes_nothing(
    ring, tmp_path, caplog
):
    other = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("a")
    await change_seen(other)
    assert other.find(secret) is not None

    (tmp_path / "keys.json").write_text("{")
    await change_seen(other)
    assert other.find(secret) is not None
    assert "keys known before stay" in caplog.text
    with pytest.raises(ConfigError, match=r"keys\.json"):
        KeyRing(tmp_path / "keys.json")


def test_two_that_add_at_once_lose_nothing(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    rings = [KeyRing(tmp_path / "keys.json") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: rings[n].add(f"key {n}"), range(8)))
    assert len(KeyRing(tmp_path / "keys.json").list()) == len(made) == 8


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org"])
def test_an_open_bind_needs_keys(ring, host):
    for none in (None, ring):
        with pytest.raises(ConfigError, match="TESTSTRIP_SERVICE_KEYS_FILE"):
            check_bind(host, none)
        check_bind("127.0.0.1", none)
    ring.add("a")
    check_bind(host, ring)


@pytest.mark.anyio
async def test_without_a_right_key_there_is_nothing(open_web, ring):
    _, secret = ring.add("a")
    async with open_web(keys=ring) as web:
        for headers in ({}, bearer("ts_wrong"), {"Authorization": f"Basic {secret}"}):
            for path in ("/api/jobs", "/api/recipes", "/api/models", "/api/jobs/" + "0" * 56):
                answer = await web.client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
        assert (await web.client.post("/api/jobs", json={"prompt": "a"})).status_code == 401
        assert (await web.client.get("/healthz")).status_code == 200
        answer = await web.client.get("/api/jobs", headers=bearer(secret))
        assert answer.status_code == 200


@pytest.mark.anyio
async def test_another_keys_job_is_unknown_and_admin_sees_all(open_web, ring):
    (_, mine), (_, yours), (_, admin) = (
        ring.add("a"),
        ring.add("b"),
        ring.add("root", ["admin"]),
    )
    async with open_web(keys=ring) as web:
        posted = await web.client.post("/api/jobs", json={"prompt": "a"}, headers=bearer(mine))
        url = posted.json()["url"]

        assert (await web.client.get(url, headers=bearer(yours))).status_code == 404
        assert (await web.client.delete(url, headers=bearer(yours))).status_code == 404
        assert (await web.client.get("/api/jobs", headers=bearer(yours))).json()["jobs"] == []
        assert (await web.client.get(url, headers=bearer(admin))).status_code == 200
        everybody = "/api/jobs?everybody=true"
        assert (await web.client.get(everybody, headers=bearer(yours))).status_code == 403
        assert len((await web.client.get(everybody, headers=bearer(admin))).json()["jobs"]) == 1
        refused = await web.client.post("/api/jobs", json={"prompt": "a"}, headers=bearer(admin))
        assert refused.status_code == 403  # admin alone makes nothing


@pytest.mark.anyio
async def test_priority_may_be_lowered_only(open_web, ring):
    secrets = {scope: ring.add(scope, [scope])[1] for scope in ("people", "generate", "study")}
    order = ["people", "api", "sweep"]
    async with open_web(keys=ring) as web:
        for scope, own in (("people", 0), ("generate", 1), ("study", 2)):
            default = await web.client.post(
                "/api/jobs", json={"prompt": "a"}, headers=bearer(secrets[scope])
            )
            assert default.json()["priority"] == order[own]
            for k, priority in enumerate(order):
                answer = await web.client.post(
                    "/api/jobs",
                    json={"prompt": "a", "priority": priority},
                    headers=bearer(secrets[scope]),
                )
                assert answer.status_code == (202 if k >= own else 403)


@pytest.mark.anyio
async def test_adapters_by_path_need_the_scope_study(open_web, ring):
    _, plain = ring.add("a")
    _, study = ring.add("b", ["study"])
    wish = {"prompt": "a", "recipe": {"loras": [{"path": "/etc/passwd"}]}}
    async with open_web(keys=ring) as web:
        refused = await web.client.post("/api/jobs", json=wish, headers=bearer(plain))
        assert refused.status_code == 422
        assert "study" in refused.json()["faults"][0]
        taken = await web.client.post("/api/jobs", json=wish, headers=bearer(study))
        assert taken.status_code == 202


@pytest.mark.anyio
async def test_numbers_are_for_this_machine_and_for_admin(open_web, ring):
    _, plain = ring.add("a")
    _, admin = ring.add("b", ["admin"])
    async with open_web(keys=ring) as web:
        assert (await web.client.get("/metrics")).status_code == 200
        proxied = {"X-Forwarded-For": "9.9.9.9"}
        assert (await web.client.get("/metrics", headers=proxied)).status_code == 401
        async with web.visitor(address="9.9.9.9", host="example.org") as far:
            assert (await far.get("/metrics")).status_code == 401
            assert (await far.get("/metrics", headers=bearer(plain))).status_code == 403
            assert (await far.get("/metrics", headers=bearer(admin))).status_code == 200


@pytest.mark.anyio
async def test_a_signed_link_shows_one_picture_for_its_time(open_web, ring):
    from starlette.requests import Request

    from teststrip.serve.web.links import signed

    _, secret = ring.add("a")
    async with open_web(keys=ring) as web:
        posted = await web.client.post(
            "/api/jobs", json={"prompt": "a", "n": 2}, headers=bearer(secret)
        )
        record = await web.finish(await web.take())
        scope = {"type": "http", "app": web.app, "headers": [(b"host", b"127.0.0.1")]}
        request = Request(scope | {"scheme": "http", "path": "/", "server": ("127.0.0.1", 80)})
        link = signed(request, record, 0, 60)

        assert (await web.client.get(link)).status_code == 200
        assert (await web.client.get(link.replace("/0.png", "/1.png"))).status_code == 401
        assert (await web.client.get(signed(request, record, 0, -1))).status_code == 401
        assert (await web.client.get(link[:-1])).status_code == 401
        assert (await web.client.get(posted.json()["url"])).status_code == 401


@pytest.mark.anyio
async def test_a_session_ends_with_its_key(open_web, ring):
    key, _ = ring.add("a")
    async with open_web(keys=ring) as web:
        signature = web.app.state.signer.sign("session", key.id, 60)
        over = web.app.state.signer.sign("session", key.id, -1)

        async def asked(value):
            async with web.visitor(cookies={COOKIE: value}) as browser:
                return (await browser.get("/api/jobs")).status_code

        assert await asked(f"{key.id}:{signature}") == 200
        assert await asked(f"{'0' * 12}:{signature}") == 401
        assert await asked(f"{key.id}:{over}") == 401
        assert await asked("") == 401
        await asyncio.to_thread(ring.revoke, key.id)
        assert await asked(f"{key.id}:{signature}") == 401


def test_what_a_key_holds_is_what_its_caller_may(ring):
    key, _ = ring.add("a", ["generate", "study"], images_per_day=5, max_queued=2)
    who = caller_of(key)
    assert who.priorities == ("api", "sweep")
    assert (who.priority, who.images_per_day, who.max_queued) == ("api", 5, 2)
    assert not who.is_local


def test_the_format_is_checked(tmp_path):
    for content in ([], {"format": 2}, {"keys": [{"id": "x"}]}):
        (tmp_path / "k.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError):
            KeyRing(tmp_path / "k.json")
    assert keys_module.SCOPES == ("generate", "people", "study", "admin")
