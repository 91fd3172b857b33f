"""The page without a browser: what forms do, what is escaped, who may see it."""

import re

import pytest

from teststrip.recipe import Recipe
from teststrip.serve.jobs.job import Champion
from teststrip.serve.web.keys import KeyRing

pytestmark = pytest.mark.anyio
HTML = {"Accept": "text/html"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> é"


async def form(client, **fields):
    """The answer to the page's form, sent as a browser without scripts does."""
    page = await client.get("/", headers=HTML)
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    once = re.search(r'name="once" value="([^"]+)"', page.text)[1]
    data = {"csrf": token, "once": once, "template": "studio", "n": "2"} | fields
    return await client.post("/make", data=data, headers=HTML)


def key_of(answer):
    """The job's key that a redirect leads to."""
    return answer.headers["location"].partition("#j")[2]


async def test_a_product_becomes_a_job_of_people(web):
    answer = await form(web.client, product="white trainers", seed="7")
    assert answer.status_code == 303
    record = await web.parts.state.get(key_of(answer))

    assert record.prompt == (
        "a commercial studio photo of white trainers, professional contrast lighting"
    )
    assert (record.priority, record.seeds, record.recipe_name) == ("people", (7, 8), "default")
    page = (await web.client.get("/", headers=HTML)).text
    assert f'id="j{record.key}"' in page
    assert "Next in line. No worker is running" in page


async def test_own_words_are_the_whole_prompt(web):
    answer = await form(web.client, template="", prompt="a fox\nin snow", product="not this")
    record = await web.parts.state.get(key_of(answer))
    assert record.prompt == "a fox\nin snow"


async def test_a_form_sent_twice_is_one_job_and_a_changed_one_another(web):
    once = {"once": "of-this-form"}
    first = await form(web.client, product="a cup", **once)
    again = await form(web.client, product="a cup", **once)
    other = await form(web.client, product="a pot", **once)
    assert key_of(first) == key_of(again) != key_of(other)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"product": " "}, "Say what the picture shall show"),
        ({"template": "", "prompt": ""}, "Say what the picture shall show"),
        ({"product": "a", "n": "65"}, "n: "),
        ({"product": "a", "n": "x"}, "n: "),
        ({"product": "a", "seed": "-1"}, "seed: "),
        ({"product": "a", "seed": "99999999999"}, "seed: "),
        ({"product": "a", "recipe": "nobody"}, "unknown name"),
        ({"product": "a", "recipe": "../../etc/passwd"}, "recipe"),
        ({"product": "a", "template": "other"}, "template: unknown name"),
        ({"product": "a" * 501}, "product: "),
        ({"template": "", "prompt": "a" * 2001}, "prompt: 2001 characters"),
    ],
)
async def test_faults_are_told_on_the_page_and_what_was_typed_stays(web, fields, words):
    answer = await form(web.client, **fields)
    assert answer.status_code == 422
    assert re.search(rf"<li>[^<]*{re.escape(words)}", answer.text), answer.text[-3000:]
    if len(typed := fields.get("product", "").strip()) > 1:
        assert f'value="{typed}"' in answer.text
    assert (await web.parts.state.counts()).get("queued", 0) == 0


async def test_the_script_gets_a_card_or_the_faults(web):
    token = (await web.client.get("/", headers=HTML)).cookies["teststrip_csrf"]
    part = HTML | {"X-Part": "1", "X-CSRF-Token": token}
    answer = await web.client.post("/make", data={"product": "a cup", "n": "1"}, headers=part)
    assert answer.status_code == 201
    assert answer.text.lstrip().startswith("<article")
    wrong = await web.client.post("/make", data={"product": "", "n": "1"}, headers=part)
    assert wrong.status_code == 422
    assert wrong.json()["faults"] == ["Say what the picture shall show"]


async def test_what_people_type_is_never_markup(web):
    answer = await form(web.client, product=HOSTILE)
    record = await web.parts.state.get(key_of(answer))
    done = await web.finish(await web.take())
    assert done.state == "done"
    for path in ("/", f"/jobs/{record.id}/card", f"/?again={record.id}"):
        text = (await web.client.get(path, headers=HTML)).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;alert(1)" in text


async def test_a_card_that_did_not_change_is_not_sent_again(web):
    record = await web.parts.state.get(key_of(await form(web.client, product="a cup")))
    path = f"/jobs/{record.id}/card"
    first = await web.client.get(path)
    known = {"If-None-Match": first.headers["etag"]}
    assert (await web.client.get(path, headers=known)).status_code == 304
    running = await web.take()
    await web.parts.state.beat(running.key, running.fence, 60, 20)
    await web.parts.state.preview(running.key, 1, b"RIFF webp")
    shown = await web.client.get(path, headers=known)
    assert shown.status_code == 200
    assert "40 %" in shown.text
    assert shown.text.count("data:image/webp;base64,UklGRiB3ZWJw") == 1

    await web.finish(running)
    ended = (await web.client.get(path)).text
    assert "2 pictures in" in ended
    assert ended.count("<img") == 2
    assert 'download="a-cup-' in ended
    assert "data-open" not in ended


async def test_cancel_from_the_page(web):
    record = await web.parts.state.get(key_of(await form(web.client, product="a cup")))
    token = web.client.cookies["teststrip_csrf"]
    answer = await web.client.post(f"/jobs/{record.id}/cancel", data={"csrf": token})
    assert answer.status_code == 303
    assert (await web.parts.state.get(record.key)).state == "cancelled"
    assert "Cancelled" in (await web.client.get("/", headers=HTML)).text


async def test_a_failed_job_says_why(web):
    record = await web.parts.state.get(key_of(await form(web.client, product="a cup")))
    taken = await web.take()
    await web.finish(taken, "failed", images=(), reason="the image became NaN <b>")
    page = (await web.client.get(f"/jobs/{record.id}/card")).text
    assert "the image became NaN &lt;b&gt;" in page
    assert "Try again" in page


async def test_again_fills_the_form_as_it_was(web):
    made = await form(web.client, product="a cup", seed="41", n="4")
    record = await web.parts.state.get(key_of(made))
    page = (await web.client.get(f"/?again={record.id}&seed=43", headers=HTML)).text
    assert 'name="product" value="a cup"' in page
    assert 'name="seed" value="43"' in page
    assert re.search(r'name="n" value="1" checked', page)
    gone = await web.client.get(f"/?again={'0' * 56}", headers=HTML)
    assert gone.status_code == 200
    assert "there is no such job" in gone.text


class Champions:
    """Two versions, the second one crowned."""

    def __init__(self):
        self.number = "2"

    def current(self):
        return self.version(self.number)

    def version(self, number):
        class Crowned:
            recipe = Recipe(steps=8 + int(number), guidance=3)
            champion = Champion(name="shop", version=number)
            headline = "Confirmed: +0.43 (+0.26 to +0.62) & more"

        return Crowned()


async def test_the_champion_and_what_speaks_for_it_are_shown(open_web):
    champions = Champions()
    async with open_web(champions=champions) as web:
        page = (await web.client.get("/", headers=HTML)).text
        assert "Champion: shop, version 2" in page
        assert "Confirmed: +0.43 (+0.26 to +0.62) &amp; more" in page
        record = await web.parts.state.get(key_of(await form(web.client, product="a cup")))
        assert record.champion.version == "2"
        again = (await web.client.get(f"/?again={record.id}", headers=HTML)).text
        assert '<option value="default" selected>' in again
        champions.number = "3"  # then the one that made it is asked for by its number
        again = (await web.client.get(f"/?again={record.id}", headers=HTML)).text
        assert '<option value="champion@2" selected>Champion, version 2</option>' in again


async def test_history_holds_what_the_page_made_not_what_programs_did(web):
    for k in range(20):
        await web.post(prompt=f"program {k}")
        await form(web.client, product=f"thing-{k}")
    page = (await web.client.get("/", headers=HTML)).text
    assert "program" not in page
    seen = re.findall(r"thing-\d+(?=</h2>)", page)
    while more := re.search(r'data-more="([^"]+)"', page):
        page = (await web.client.get(more[1].replace("&amp;", "&"))).text
        seen += re.findall(r"thing-\d+(?=</h2>)", page)
    # those of one second come in any order
    assert sorted(seen) == sorted(f"thing-{k}" for k in range(20))


async def test_forms_of_others_change_nothing(web):
    record = await web.parts.state.get(key_of(await form(web.client, product="a cup")))
    for path, data in (
        ("/make", {"product": "a", "n": "1"}),
        (f"/jobs/{record.id}/cancel", {}),
        (f"/jobs/{record.id}/0/thumb", {"thumb": "up"}),
        ("/logout", {}),
    ):
        answer = await web.client.post(path, data=data)
        assert answer.status_code == 403, path
        answer = await web.client.post(path, data=data | {"csrf": "x" * 43})
        assert answer.status_code == 403, path
    assert (await web.parts.state.get(record.key)).state == "queued"


async def test_pages_that_are_not_there_are_told_as_pages(web):
    missing = await web.client.get("/nothing", headers=HTML)
    assert missing.status_code == 404
    assert "Back to the pictures" in missing.text
    programs = await web.client.get("/api/nothing", headers=HTML)
    assert programs.headers["content-type"] == "application/problem+json"
    for path in ("/jobs/%2e%2e/card", "/static/../page.py", "/static/%2e%2e/page.py"):
        assert (await web.client.get(path)).status_code == 404


async def test_static_files_are_ours_and_the_shared_ones(web):
    for path in ("service.css", "base.css", "service.js", "morph.js", "icon.svg"):
        answer = await web.client.get(f"/static/{path}")
        assert answer.status_code == 200, path
    assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_a_key_opens_a_session_that_ends_with_the_key(open_web, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("ada", ["generate", "people"])
    _, other = ring.add("bob", ["generate"])
    async with open_web(keys=ring) as web:
        refused = await web.client.get("/", headers=HTML)
        assert (refused.status_code, refused.headers["location"]) == (303, "/login")
        assert (await web.client.get("/")).status_code == 401
        login = await web.client.get("/login", headers=HTML)
        token = login.cookies["teststrip_csrf"]
        wrong = await web.client.post("/login", data={"csrf": token, "key": "ts_wrong"})
        assert wrong.status_code == 401
        assert "no key of this service" in wrong.text
        assert "teststrip_service" not in wrong.cookies
        inside = await web.client.post("/login", data={"csrf": token, "key": f" {secret} "})
        assert (inside.status_code, inside.headers["location"]) == (303, "/")
        cookie = inside.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert secret not in cookie

        made = await form(web.client, product="a cup")
        record = await web.parts.state.get(key_of(made))
        page = (await web.client.get("/", headers=HTML)).text
        assert "ada" in page
        assert secret not in page
        assert (await web.client.get(f"/api/jobs/{record.id}")).status_code == 200
        async with web.visitor() as bob:
            token = (await bob.get("/login", headers=HTML)).cookies["teststrip_csrf"]
            await bob.post("/login", data={"csrf": token, "key": other})
            assert (await bob.get(f"/jobs/{record.id}/card")).status_code == 404
            assert "a cup</h2>" not in (await bob.get("/", headers=HTML)).text
        ring.revoke("ada")
        assert (await web.client.get("/", headers=HTML)).status_code == 303
        out = await web.client.post("/logout", data={"csrf": web.client.cookies["teststrip_csrf"]})
        assert out.headers["location"] == "/login"


async def test_a_key_that_may_make_nothing_is_told_so(open_web, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("watcher", ["admin"])
    async with open_web(keys=ring) as web:
        token = (await web.client.get("/login", headers=HTML)).cookies["teststrip_csrf"]
        await web.client.post("/login", data={"csrf": token, "key": secret})
        answer = await form(web.client, product="a cup")
        assert answer.status_code == 403
        assert "lacks the scope" in answer.text
