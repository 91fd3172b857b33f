"""/live and /runs in Chromium: news come by themselves, buttons work, keys move the slider."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

STUDY = {
    "name": "watched",
    "generator": {"name": "synthetic", "options": {"delay_s": 0.25}},
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"a <b>fox</b> {i}" for i in range(8)], "held_out": 0.25},
    "seeds": 2,
    "space": {"steps": {"int": [10, 40], "step": 10}, "guidance": [2.0, 5.0, 8.0]},
    "design": {"kind": "grid"},
    "race": {"start": 2, "top": 12},
}
SERIOUS = ("serious", "critical")


def start(home: Path, **changes) -> subprocess.Popen:
    study = STUDY | changes
    path = home / f"{study['name']}.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    code = f"from teststrip import Study; Study.from_yaml({str(path)!r}, home={str(home)!r}).run()"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def faults(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in SERIOUS]


def test_a_study_appears_advances_is_stopped_and_resumed_without_a_reload(
    browser_page, home, request
):
    page = browser_page
    page.set_default_timeout(60_000)
    page.goto("/live")
    expect(page.get_by_role("heading", name="Nothing running")).to_be_visible()
    page.evaluate("window.stillHere = true")

    process = start(home)
    request.addfinalizer(lambda: process.poll() is None and process.kill())
    card = page.locator("#study-watched")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # look now, not in 10 s
    expect(card.locator(".state.running")).to_be_visible(timeout=60_000)
    expect(card.locator(".shots img").nth(3)).to_be_visible(timeout=60_000)
    expect(card.locator("time.until")).to_be_visible(timeout=60_000)
    first = card.locator(".shots li").first.get_attribute("id")
    expect(card.locator(".shots li").first).not_to_have_id(first, timeout=60_000)
    assert page.locator(".shots b").count() == 0  # prompts are text
    natural = card.locator(".shots img").nth(3)
    expect(natural).to_have_js_property("complete", True)
    assert natural.evaluate("image => image.naturalWidth") > 0

    card.get_by_role("button", name="Stop watched").click()
    expect(card.locator(".state.stopped")).to_be_visible(timeout=60_000)
    assert process.wait(60) == 1
    kept = len(list((home / "studies/watched/images").glob("*/*.png")))
    expect(card).to_contain_text(f"{kept} of")
    assert not faults(page)

    card.get_by_role("button", name="Resume watched").click()
    expect(card.locator(".state.starting, .state.running")).to_be_visible(timeout=60_000)
    expect(card.locator(".state.finished")).to_be_visible(timeout=120_000)
    expect(card.get_by_role("link", name="Evidence of watched")).to_be_visible()
    assert page.evaluate("window.stillHere")


def test_polling_asks_with_the_etag_slows_down_when_hidden_and_heals(browser_page, home, forgiven):
    forgiven.append("503|ERR_FAILED|Failed to load resource")
    page = browser_page
    page.goto("/live")
    pulse = page.locator("#pulse")
    with page.expect_response("**/live/studies") as told:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert told.value.status == 304
    assert told.value.request.headers["if-none-match"] == pulse.get_attribute("data-etag")
    expect(pulse).to_have_text("Looks for news every 10 seconds.")

    page.route("**/live/studies", lambda route: route.fulfill(status=503, body="busy"))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(pulse).to_contain_text("the server answered 503; tries again in")
    page.unroute("**/live/studies")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(pulse).to_have_text("Looks for news every 10 seconds.")


def test_the_tab_that_nobody_sees_asks_rarely(browser_page, home):
    page = browser_page
    page.add_init_script("""
        window.waits = [];
        const own = window.setTimeout;
        window.setTimeout = (act, wait, ...more) => {
            window.waits.push(wait);
            return own(act, wait, ...more);
        };
        Object.defineProperty(document, "hidden", { get: () => window.away === true });
    """)
    page.goto("/live")
    page.wait_for_function("window.waits.includes(10000)")
    page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function("window.waits.includes(100000)")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_axe_finds_nothing_serious(browser_page, home, width, scheme):
    write_small_run(home)
    page = browser_page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/live", "/runs", "/runs/foxes"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert not faults(page), path


def test_keys_and_slider_move_along_the_checkpoints(browser_page, home):
    write_small_run(home)
    page = browser_page
    page.goto("/runs/foxes?step=100")
    page.wait_for_selector("#run[data-ready]")
    mine = page.locator("[data-place='fox-1-7'] img.mine")
    base = page.locator("[data-place='fox-1-7'] img.first").get_attribute("src")
    now = page.locator("#now")

    page.keyboard.press("ArrowRight")
    expect(now).to_have_text("step 200")
    expect(page.locator("tr[aria-current]")).to_have_attribute("data-step", "200")
    expect(page.locator("line.at.now").first).to_have_attribute("data-step", "200")
    assert "/samples/200/fox-1-7.webp" in mine.get_attribute("src")
    assert page.url.endswith("?step=200")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    expect(now).to_have_text("step 300")
    page.keyboard.press("Home")
    expect(now).to_have_text("base model")
    assert mine.get_attribute("src") == base

    page.locator("#slider").focus()
    page.keyboard.press("ArrowRight")
    expect(now).to_have_text("step 100")
    page.keyboard.press("b")
    assert mine.get_attribute("src") == base
    expect(page.locator("#flip")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("b")
    assert "/samples/100/" in mine.get_attribute("src")
    page.get_by_role("row").get_by_role("link", name="step 300").click()
    expect(now).to_have_text("step 300")
    expect(mine).to_have_js_property("complete", True)
    assert mine.evaluate("image => image.naturalWidth") == 64
    assert page.locator("#run i").count() == 0


def test_a_training_that_runs_is_on_the_live_page(browser_page, home):
    folder = write_small_run(home)
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(head | {"state": "running", "steps": 900}))
    page = browser_page
    page.goto("/live")

    card = page.locator("#training-foxes")
    expect(card).to_contain_text("step 300 of 900")
    expect(card.get_by_role("list").get_by_role("img")).to_have_count(6)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("5}\n" + json.dumps({"step": 310, "loss": 0.25}) + "\n")
    expect(card).to_contain_text("step 310 of 900")
    expect(card.locator("dl")).to_contain_text("0.25")
    (folder / "run.json").write_text(json.dumps(head))
    expect(card).to_contain_text("finished")
    expect(card.get_by_role("progressbar")).to_have_count(0)


def write_small_run(home: Path) -> Path:
    import importlib.util

    spec = importlib.util.spec_from_file_location("runs", Path(__file__).with_name("test_runs.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = home / "runs/foxes"
    return folder if folder.exists() else module.write_run(folder)


def test_a_running_study_is_stopped_by_keyboard_alone(browser_page, home):
    slow = {"name": "synthetic", "options": {"delay_s": 1.0}}
    process = start(home, name="other", generator=slow)
    page = browser_page
    page.set_default_timeout(60_000)
    try:
        page.goto("/live")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        card = page.locator("#study-other")
        expect(card.locator(".state.running")).to_be_visible(timeout=60_000)
        assert not faults(page)
        card.locator("a", has_text="other").first.focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the stop button, by keyboard alone
        expect(card.locator(".state.stopped")).to_be_visible(timeout=60_000)
        assert process.wait(60) == 1
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
