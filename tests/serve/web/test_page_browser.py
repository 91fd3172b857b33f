"""The page in a real browser, on a real service: typed, watched, kept, rated, found again."""

import re
import threading
from contextlib import contextmanager

import pytest

from teststrip.recipe import Recipe, Request
from teststrip.serve.web.keys import KeyRing
from teststrip.testing import browser
from teststrip.testing.instant import InstantStepper
from teststrip.testing.service_thread import served

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> é"


gate = threading.Event()  # while it is closed, pictures stay at their fourth step
gate.set()


class Gated(InstantStepper):
    """Ten steps of 20 ms, and a gate."""

    def __init__(self, model, **options):
        super().__init__(model, step_s=0.02, steps=10)

    def step(self, on_progress=None):
        if not gate.is_set() and any(flight.done >= 4 for flight in self._board):
            gate.wait(0.02)
            return []
        return super().step(on_progress)


@contextmanager
def held():
    """Pictures stay unfinished within the block."""
    gate.clear()
    try:
        yield
    finally:
        gate.set()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(home):
    """Web, worker and an engine that takes its time; two templates."""
    templates = home / "templates.yaml"
    templates.write_text(
        "studio: a commercial studio photo of {product}, professional contrast lighting\n"
        "catalogue: '{product} on a plain white background'\n"
    )
    with served(
        home, Gated, templates_file=templates, max_attempts=1, preview_every_s=0.01
    ) as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    if browser.BROWSER is None:
        pytest.skip("no chromium here")
    with browser.chromium() as made:
        yield made


@pytest.fixture
def forgiven():
    return []


@pytest.fixture
def page(chromium, service, forgiven):
    with browser.strict_page(chromium, service.address, forgiven) as made:
        made.goto("/")
        yield made


def make(page, product, n=1, seed=""):
    """Type it and press Enter; the job's article."""
    page.get_by_role("textbox", name="Product").fill("")
    page.get_by_role("textbox", name="Product").press_sequentially(product)
    page.locator(f".counts label:has(input[value='{n}'])").click()
    page.get_by_role("textbox", name="Seed").fill(seed)
    return sent(page, lambda: page.get_by_role("textbox", name="Product").press("Enter"))


def sent(page, send):
    """The job that `send` brings to the top."""
    jobs = page.locator("#jobs article")
    before = jobs.first.get_attribute("id") if jobs.count() else ""
    send()
    top = "(id) => (document.querySelector('#jobs article')?.id ?? id) !== id"
    page.wait_for_function(top, arg=before)
    return page.locator(f"#{jobs.first.get_attribute('id')}")


def until(page, job, state):
    page.locator(f"#{job.get_attribute('id')}[data-state='{state}']").wait_for(timeout=60_000)
    return job


def test_a_product_is_watched_becomes_pictures_and_is_kept(page, service):
    with held():
        job = make(page, "white trainers", 4, "41")
        job.locator("progress").wait_for()
        job.locator(".tile.preview img[src^='data:image/webp']").first.wait_for()
        job.locator(".says", has_text=re.compile(r"^[1-9]\d? %")).wait_for()
        assert re.match(r"[1-9]\d? % · Teststrip", page.title())
    until(page, job, "done")

    page.locator("#notice.shown", has_text="4 pictures ready").wait_for()
    assert page.title() == "Pictures · Teststrip"
    assert job.locator("img").count() == 4
    assert job.locator("progress").count() == 0
    page.wait_for_function("() => [...document.images].every((i) => i.complete && i.naturalWidth)")
    with page.expect_download() as download:
        job.get_by_role("link", name="Download picture 2").click()
    assert download.value.suggested_filename == "white-trainers-42.png"
    got = download.value.path().read_bytes()
    recipe = Recipe(steps=10)
    text = "a commercial studio photo of white trainers, professional contrast lighting"
    block = {"prompt": text, "seed": 42}
    made = InstantStepper("builtin")
    made.add_request(Request(recipe=recipe, block=block))
    while not (ended := made.step()):
        pass
    assert got == ended[0].png  # the very picture of this recipe, prompt and seed

    page.reload()  # the history is the service's, not the tab's
    assert page.locator(f"#{job.get_attribute('id')} img").count() == 4


def test_thumbs_stay_and_can_be_taken_back(page):
    job = until(page, make(page, "a ceramic teapot", 2), "done")
    good = job.get_by_role("button", name="Good: picture 1", exact=True)
    good.click()
    page.locator("#notice.shown", has_text="Counted as good").wait_for()
    job.get_by_role("button", name="Not good: picture 2").click()
    page.locator("#notice.shown", has_text="Counted as not good").wait_for()
    page.reload()
    pressed = job.locator("[aria-pressed=true] .sr").all_inner_texts()
    assert pressed == ["Good: picture 1", "Not good: picture 2"]
    good.click()
    page.locator("#notice.shown", has_text="Taken back").wait_for()
    assert good.get_attribute("aria-pressed") == "false"


def test_a_picture_is_looked_at_by_keys_alone(page):
    job = until(page, make(page, "a wrist watch", 2, "7"), "done")
    job.locator("[data-look]").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("seed 7", exact=True).wait_for()
    page.keyboard.press("ArrowRight")
    dialog.get_by_text("seed 8", exact=True).wait_for()
    dialog.get_by_role("button", name=re.compile("^Good")).click()
    dialog.locator("[aria-pressed=true]").wait_for()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert job.locator("[data-look]").nth(1).evaluate("e => e === document.activeElement")
    assert job.locator("[aria-pressed=true]").count() == 1


def test_the_same_seed_again_and_more_like_this(page):
    job = until(page, make(page, "a leather handbag", 2, "100"), "done")
    job.get_by_role("link", name="Again with seed 101").click()
    page.wait_for_url("**again=**")
    assert page.get_by_role("textbox", name="Product").input_value() == "a leather handbag"
    assert page.get_by_role("textbox", name="Seed").input_value() == "101"
    press = page.get_by_role("button", name="Make", exact=True).click
    again = until(page, sent(page, press), "done")
    pictures = [
        page.evaluate(
            "async (a) => [...new Uint8Array(await (await fetch(a)).arrayBuffer())].join()",
            one.get_attribute("src"),
        )
        for one in (job.locator("img").nth(1), again.locator("img").first)
    ]
    assert pictures[0] == pictures[1]
    page.locator("#jobs article").first.get_by_role("link", name="More like this").click()
    page.wait_for_url("**again=**")
    assert page.get_by_role("textbox", name="Seed").input_value() == ""


def test_own_words_and_hostile_ones_are_text(page):
    page.get_by_role("radio", name="Own words").check()
    assert not page.get_by_role("textbox", name="Product").is_visible()
    page.get_by_label("Prompt", exact=True).fill(HOSTILE)
    job = until(page, sent(page, lambda: page.keyboard.press("Control+Enter")), "done")
    assert job.locator("h2").inner_text().startswith("<script>")
    job.locator("[data-look]").click()
    page.get_by_role("dialog").get_by_text("<script>").wait_for()
    page.reload()
    assert page.title() == "Pictures · Teststrip"


def test_another_template_shows_another_sentence(page):
    page.get_by_role("radio", name="Catalogue").check()
    assert "on a plain white background" in page.locator(".sentence").inner_text()
    assert "professional" not in page.locator(".sentence").inner_text()
    job = until(page, make(page, "a mug"), "done")
    job.get_by_text("Settings").click()
    assert "a mug on a plain white background" in job.inner_text()


def test_a_running_job_is_cancelled(page):
    with held():
        first = make(page, "a slow boat", 8)
        first.locator(".tile.preview").first.wait_for()
        first.get_by_role("button", name="Cancel").click()
        until(page, first, "cancelled")
    assert first.locator("progress, img").count() == 0
    page.locator("#notice.shown", has_text="Cancelled").wait_for()


def test_what_failed_says_why_and_can_be_tried_again(page):
    job = until(page, make(page, "a FAULT line"), "failed")
    assert "the image became NaN" in job.inner_text()
    page.locator("#notice.fault", has_text="This one failed").wait_for()
    job.get_by_role("link", name="Try again").click()
    page.wait_for_url("**again=**")
    assert page.get_by_role("textbox", name="Product").input_value() == "a FAULT line"


def test_faults_are_told_beside_the_form_and_nothing_is_lost(page, forgiven):
    forgiven.append("422")
    page.get_by_role("textbox", name="Seed").evaluate("e => e.removeAttribute('pattern')")
    page.get_by_role("textbox", name="Product").fill("kept")
    page.get_by_role("textbox", name="Seed").fill("many")
    page.get_by_role("button", name="Make", exact=True).click()
    page.locator("#faults li", has_text="seed").wait_for()
    assert page.get_by_role("textbox", name="Product").input_value() == "kept"
    page.get_by_role("textbox", name="Seed").fill("")
    page.get_by_role("button", name="Make", exact=True).click()
    page.locator("#jobs h2", has_text="kept").first.wait_for()
    assert page.locator("#faults li").count() == 0


def test_two_presses_are_two_wishes_but_one_form_sent_twice_is_one(page, service):
    page.get_by_role("textbox", name="Product").fill("a pair")
    page.evaluate(
        "() => { const f = document.getElementById('ask'); f.requestSubmit(); f.requestSubmit(); }"
    )
    page.locator("#jobs h2", has_text="a pair").first.wait_for()
    page.get_by_role("button", name="Make", exact=True).click()
    two = "() => [...document.querySelectorAll('#jobs h2')].filter((h) => h.innerText === 'a pair')"
    page.wait_for_function(f"{two}.length === 2")
    page.reload()
    assert page.locator("#jobs h2", has_text="a pair").count() == 2


def test_earlier_pictures_come_when_asked_for(page):
    for k in range(10):
        make(page, f"thing number {k} of ten")
    last = page.locator("#jobs article").first
    until(page, last, "done")
    page.reload()
    shown = page.locator("#jobs article").count()
    page.get_by_role("link", name="Earlier pictures").click()
    page.wait_for_function(
        "(shown) => document.querySelectorAll('#jobs article').length > shown", arg=shown
    )
    texts = page.locator("#jobs h2").all_inner_texts()
    assert {f"thing number {k} of ten" for k in range(10)} <= set(texts)


@pytest.mark.slow  # opens the engine
def test_real_pictures_of_the_built_in_model_appear_step_by_step(chromium, tmp_path):
    pytest.importorskip("torch")
    from teststrip.serve.config import ServiceConfig
    from teststrip.wire.service import stepper_factory

    engine = stepper_factory(ServiceConfig())
    with (
        served(tmp_path, engine, preview_every_s=0.01) as service,
        browser.strict_page(chromium, service.address, []) as page,
    ):
        page.goto("/")
        job = make(page, "a crown", 4, "5")
        job.locator(".tile.preview img[src^='data:image/webp']").first.wait_for()
        until(page, job, "done")
        picture = job.locator("img").first
        assert picture.evaluate("i => i.naturalWidth") == 64
        assert "12" in job.locator("dl").text_content()


def test_it_works_without_scripts(chromium, service):
    with browser.strict_page(chromium, service.address, [], java_script_enabled=False) as page:
        page.goto("/")
        page.get_by_role("textbox", name="Product").fill("a quiet fan")
        page.get_by_role("button", name="Make", exact=True).click()
        page.wait_for_url("**/#j*")
        job = page.locator("#jobs article", has_text="a quiet fan").first
        for _ in range(200):
            if job.get_attribute("data-state") == "done":
                break
            page.reload()
        assert job.get_attribute("data-state") == "done"
        job.get_by_role("button", name="Good: picture 1", exact=True).click()
        page.wait_for_url("**/#j*")
        assert job.locator("[aria-pressed=true]").count() == 1


def test_a_key_is_asked_for_and_leaving_ends_it(chromium, tmp_path, forgiven):
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("ada lovelace", ["people"])
    forgiven.append("401")
    with (
        served(tmp_path, None, keys=ring) as service,
        browser.strict_page(chromium, service.address, forgiven) as page,
    ):
        page.goto("/")
        page.get_by_label("API key").fill("ts_wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        assert not browser.serious_faults(page)
        page.get_by_label("API key").fill(secret)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{service.address}/")
        page.get_by_text("ada lovelace").wait_for()
        page.locator(".pulse", has_text="no worker").wait_for()
        job = make(page, "a cup")
        assert "No worker is running" in job.inner_text()
        page.get_by_role("button", name="Leave").click()
        page.get_by_label("API key").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_axe_finds_nothing_serious(page, scheme, width):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("/")
    with held():
        busy = make(page, "an " + "unbreakablylongword" * 12, 4)
        busy.locator(".tile.preview").first.wait_for()
        check(page, width, "busy")
    until(page, busy, "done")
    check(page, width, "done")
    busy.locator("[data-look]").first.click()
    check(page, width, "looked at")


def check(page, width, state):
    assert not browser.serious_faults(page), state
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width, (state, wide)
