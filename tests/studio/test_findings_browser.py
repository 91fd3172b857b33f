"""Evidence pages in a real browser: points are links, the ranking sorts in place; axe agrees."""

import re
import threading
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from teststrip.studio.findings.section import SECTIONS

KEYS = [key for key, _ in SECTIONS]
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def gate():
    """Holds the analysis back until it is opened."""
    return threading.Event()


@pytest.fixture(scope="module")
def app(parts, gate):
    """The studio, whose evidence of `small` waits at the gate."""
    from teststrip.studio.app import create_app

    def analysis(name):
        if name == "small":
            assert gate.wait(60)
        return parts.analysis(name)

    return create_app(replace(parts, analysis=analysis))


@pytest.fixture
def go(browser_page):
    """Opens a section and waits for the evidence itself."""

    def open_(key="answer", study="colours", query=""):
        path = "/findings" if key == "answer" else f"/findings/{key}"
        browser_page.goto(f"{path}?study={study}{query}")
        expect(browser_page.locator("#reading")).to_have_count(0, timeout=30_000)
        return browser_page

    return open_


def test_the_evidence_comes_by_itself_when_it_has_been_read(browser_page, gate):
    browser_page.goto("/findings/ranking?study=small&sort=mean")
    expect(browser_page.get_by_role("heading", name="Reading the evidence")).to_be_visible()

    gate.set()

    expect(browser_page.get_by_role("heading", name="Ranking", exact=True)).to_be_visible(
        timeout=30_000
    )
    expect(browser_page.locator("th[aria-sort]")).to_contain_text("mean score")
    expect(browser_page.locator("#evidence")).to_have_count(1)


def test_a_point_shows_its_numbers_on_hover_and_on_focus(go):
    page = go("parameters")
    chart = page.locator("figure.effect", has_text="steps").first
    first, second = chart.locator("a.mark").nth(0), chart.locator("a.mark").nth(1)
    tip = page.locator("#tip")
    expect(first).to_have_attribute("tabindex", "0")

    first.hover()
    expect(tip).to_have_text(first.get_attribute("aria-label"))
    expect(tip).to_have_text(re.compile(r"steps 10: .+ to .+ recipes? on \d+ blocks"))

    first.focus()
    page.keyboard.press("ArrowRight")
    expect(second).to_be_focused()
    expect(tip).to_have_text(second.get_attribute("aria-label"))
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_enter_on_a_point_opens_its_images(go):
    page = go("parameters")
    point = page.locator("figure.effect a.mark[aria-label^='steps 30']")
    point.focus()
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"/wall\?.*f\.recipe\.steps=30"))


def test_a_click_on_the_front_opens_the_recipe_s_images(go):
    page = go("time")
    mark = page.locator("svg a.mark").last  # drawn over the others
    recipe = re.search(r"f\.recipe_id=(\w+)", mark.get_attribute("href"))[1]
    mark.locator(".dot").click()

    expect(page).to_have_url(re.compile(rf"/wall\?.*f\.recipe_id={recipe}"))


def test_the_ranking_sorts_in_place_and_back_undoes_it(go):
    page = go("ranking")
    page.evaluate("window.stays = true")
    rows = page.locator("#ranking tbody tr")
    before = rows.first.inner_text()
    page.get_by_role("link", name="mean score").click()
    header = page.get_by_role("columnheader", name="mean score")
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("link", name="mean score")).to_be_focused()
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "ascending")
    expect(page).to_have_url(re.compile("sort=-mean"))

    page.go_back()
    expect(header).to_have_attribute("aria-sort", "descending")
    page.go_back()
    expect(header).not_to_have_attribute("aria-sort", re.compile(".+"))
    assert rows.first.inner_text() == before
    assert page.evaluate("window.stays")


def test_a_verdict_filters_and_a_row_opens_its_images(go):
    page = go("ranking")
    page.locator("#v-best").click()
    expect(page.locator("#v-best")).to_have_attribute("aria-current", "true")
    row = page.locator("#ranking tbody tr").first
    wanted = row.get_attribute("data-href")
    row.locator("td.verdict").click()

    expect(page).to_have_url(re.compile(re.escape(wanted)))


def test_two_recipes_are_chosen_in_a_form(go, parts):
    page = go("two")
    other = parts.analysis("colours").ranking.rows[5].recipe_id
    page.locator("select[name=b]").select_option(other)
    page.get_by_role("button", name="Compare").click()

    expect(page).to_have_url(re.compile(f"b={other}"))
    expect(page.locator(".verdict-line")).to_contain_text("interval")


def test_the_plan_answers_what_it_is_asked(go):
    page = go("plan")
    page.get_by_label("prompts").fill("64")
    page.get_by_role("button", name="Work it out").click()

    expect(page.locator(".says").first).to_contain_text("64 prompts x")


def test_a_command_is_copied(go):
    page = go("next")
    command = page.locator(".steps pre").first
    page.locator(".steps .copyable button").first.click()

    expect(page.locator("#notice")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == command.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("key", KEYS)
def test_axe_finds_nothing_serious_and_a_phone_shows_it_whole(go, key, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = go(key)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        found = Axe().run(page).response["violations"]
        assert [
            (v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in SERIOUS
        ] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
