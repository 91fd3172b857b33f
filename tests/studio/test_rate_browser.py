"""The rating page in a real browser: keys, undo, the next pair at once, two raters, faults."""

import re
import threading

import pytest

from teststrip.study.marks import MARKS, stored_marks
from teststrip.study.votes import VOTES, events, stored_votes

pytest.importorskip("playwright")

from playwright.sync_api import expect

READY = "#rate[data-shown]:not([data-shown=''])"
SLOW = 20_000  # ms: the first ranking imports scipy and pandas
TIMES = "performance.getEntriesByName('rate:next').map((entry) => entry.duration)"


@pytest.fixture
def folder(home):
    """The study's folder, without votes of earlier tests."""
    place = home / "studies/colours"
    for name in (VOTES, MARKS):
        (place / name).unlink(missing_ok=True)
    return place


def begin(page, name="Ana"):
    page.goto("/rate?study=colours")
    page.get_by_label("Name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)


def shown(page):
    return page.locator("#rate").get_attribute("data-shown")


def press(page, key):
    """A key, and wait for the pair after it."""
    before = shown(page)
    page.keyboard.press(key)
    expect(page.locator("#rate")).not_to_have_attribute("data-shown", before)
    expect(page.locator("#rate")).to_have_attribute("data-shown", re.compile("."))


def ahead(page, pairs=1):
    """That many pairs after this one are decoded, or more."""
    expect(page.locator("#rate")).to_have_attribute("data-ready", re.compile(f"[{pairs}-9]"))


def settled(page):
    """All votes have arrived."""
    expect(page.locator("#rate")).to_have_attribute("data-unsent", "0")


def test_keys_vote_and_the_choice_is_what_was_on_that_side(browser_page, folder):
    begin(browser_page)
    for key in "120ts":
        press(browser_page, key)
    settled(browser_page)

    choices = [row["choice"] for row in events(folder)]
    assert choices == ["left", "right", "tie", "tie", "skip"]
    assert {row["rater"] for row in events(folder)} == {"Ana"}
    expect(browser_page.locator("#count")).to_have_text(
        "16 more pairs in this round, 4 done in all"
    )


def test_the_next_pair_is_decoded_before_the_key_and_shows_within_100_ms(browser_page, folder):
    begin(browser_page)
    for n in range(12):
        ahead(browser_page)
        before = browser_page.evaluate("performance.now()")
        press(browser_page, "12"[n % 2])
        decoded = browser_page.evaluate(
            "performance.getEntriesByName('rate:decoded:' + "
            "document.getElementById('rate').dataset.shown)[0].startTime"
        )
        assert decoded < before
    press(browser_page, "s")
    times = sorted(browser_page.evaluate(TIMES)[:12])

    print(f"next pair after {times[6]:.0f} ms (median), {times[-1]:.0f} ms (most)")
    assert times[6] < 100


def test_undo_shows_the_pair_again_and_removes_the_vote(browser_page, folder):
    begin(browser_page)
    prompt = browser_page.locator("#prompt").inner_text()
    press(browser_page, "1")
    press(browser_page, "2")

    for left in (1, 0):
        before = shown(browser_page)
        browser_page.keyboard.press("u")
        expect(browser_page.locator("#rate")).not_to_have_attribute("data-shown", before)
        expect(browser_page.locator("#count")).to_contain_text(f"{left} done in all")

    assert browser_page.locator("#prompt").inner_text() == prompt
    expect(browser_page.get_by_role("button", name="undo")).to_be_disabled()
    assert stored_votes(folder) == []
    press(browser_page, "2")
    settled(browser_page)
    assert [v["choice"] for v in stored_votes(folder)] == ["right"]


def test_a_round_ends_with_a_pause_and_a_reload_goes_on(browser_page, folder):
    begin(browser_page)
    for _ in range(19):
        press(browser_page, "1")
    browser_page.keyboard.press("t")
    expect(browser_page.locator("#pause")).to_be_visible()
    browser_page.keyboard.press("1")  # no pair is shown, so this is no vote
    browser_page.get_by_role("button", name="20 more pairs").click()
    expect(browser_page.locator("#pause")).to_be_hidden()
    settled(browser_page)
    assert len(stored_votes(folder)) == 20

    browser_page.goto("/rate?study=colours")

    browser_page.wait_for_selector(READY)
    expect(browser_page.locator("#count")).to_contain_text("20 done in all")
    expect(browser_page.locator(".who")).to_contain_text("Ana")


def test_two_browsers_at_once_lose_nothing(chromium, server, folder):
    """Two people in two contexts, their keys interleaved faster than the server answers."""
    people = []
    for name in ("Ana", "Bo"):
        context = chromium.new_context(base_url=server)
        page = context.new_page()
        begin(page, name)
        people.append((context, page))
    for n in range(15):
        for _, page in people:
            press(page, "12t"[n % 3])
    for _, page in people:
        settled(page)
    for context, _ in people:
        context.close()

    votes = stored_votes(folder)
    assert len({v["id"] for v in votes}) == len(votes) == 30
    assert sum(v["rater"] == "Bo" for v in votes) == 15


def test_votes_cast_while_the_server_is_away_arrive_later(browser_page, folder, forgiven):
    forgiven.append("ERR_FAILED|ERR_CONNECTION")
    begin(browser_page)
    ahead(browser_page, 3)
    away = threading.Event()
    away.set()
    browser_page.route(
        "**/rate/vote", lambda route: route.abort() if away.is_set() else route.continue_()
    )
    press(browser_page, "1")
    press(browser_page, "2")
    expect(browser_page.locator("#notice")).to_contain_text("kept in this browser")
    assert stored_votes(folder) == []

    away.clear()

    settled(browser_page)
    assert [v["choice"] for v in stored_votes(folder)] == ["left", "right"]


def test_the_ranking_is_hidden_until_asked_and_then_follows(browser_page, folder):
    begin(browser_page)
    press(browser_page, "1")
    expect(browser_page.locator("#ranking")).to_be_hidden()
    assert not browser_page.locator("#ranking").inner_html().strip()

    browser_page.get_by_role("button", name="Show the ranking").click()
    expect(browser_page.locator("#ranking")).to_contain_text(
        "1 vote on 1 prompt from 1 rater.", timeout=SLOW
    )
    press(browser_page, "2")

    expect(browser_page.locator("#ranking")).to_contain_text("2 decided pairs", timeout=SLOW)
    browser_page.get_by_role("button", name="Only mine").click()
    expect(browser_page.locator("#ranking h2")).to_have_text("What you prefer")


def test_settings_are_hidden_before_the_vote_and_told_after_it_if_asked(browser_page, folder):
    begin(browser_page)
    for name in ("alt", "src", "title"):
        for text in browser_page.locator("#rate img").evaluate_all(
            f"images => images.map((image) => image.getAttribute('{name}') ?? '')"
        ):
            assert not re.search("ddim|euler|steps|recipe", text)
    press(browser_page, "1")
    expect(browser_page.locator("#told")).to_be_hidden()

    browser_page.get_by_label("Show settings and scores after each vote").check()
    press(browser_page, "2")

    told = browser_page.locator("#told")
    expect(told.get_by_role("heading")).to_have_text("The pair before: you chose 2")
    expect(told).to_contain_text("synthetic@1")
    last = events(folder)[-1]
    link = told.get_by_role("link", name="Compare the two").get_attribute("href")
    assert link.endswith(f"i={last['left_image']}&i={last['right_image']}")


def test_a_pair_whose_image_is_gone_is_left_out(browser_page, folder, forgiven):
    forgiven.append("404")
    gone = []
    browser_page.route(
        "**/images/colours/*",
        lambda route: route.fulfill(status=404) if _first(gone, route) else route.continue_(),
    )
    begin(browser_page)

    expect(browser_page.locator("#notice")).to_contain_text("an image of a pair is gone")
    press(browser_page, "1")
    settled(browser_page)
    assert gone[0] not in {row["left_image"] for row in events(folder)}


def test_the_end_is_said_and_undo_works_there(browser_page, home):
    """Study `small` among its best two only: few pairs, then none."""
    begin(browser_page)
    browser_page.goto("/rate?study=small&among=2")
    prompt = browser_page.locator("#prompt")
    for _ in range(6):
        browser_page.wait_for_selector(READY)  # it may still be on its way
        before = shown(browser_page)
        browser_page.keyboard.press("1")
        expect(browser_page.locator("#rate")).not_to_have_attribute("data-shown", before)
    expect(prompt).to_contain_text("You have seen every pair there is")

    browser_page.keyboard.press("u")

    expect(browser_page.locator("#rate")).to_have_attribute("data-shown", re.compile("."))
    settled(browser_page)
    assert len(stored_votes(home / "studies/small")) == 5


def _first(gone, route):
    """The first image that is asked for, each time it is asked for."""
    key = route.request.url.rpartition("/")[2].removesuffix(".png")
    if not gone:
        gone.append(key)
    return key == gone[0]


def test_single_images_are_starred_and_rejected_by_key(browser_page, folder):
    begin(browser_page)
    browser_page.get_by_role("link", name="Single images").click()
    browser_page.wait_for_selector("#gallery[data-ready]")
    first, second = (browser_page.locator(".shot").nth(n) for n in (0, 1))

    for key in ("ArrowRight", "f", "ArrowRight", "r"):
        browser_page.keyboard.press(key)
    expect(first.get_by_role("button", name="star")).to_have_attribute("aria-pressed", "true")
    expect(second.get_by_role("button", name="reject")).to_have_attribute("aria-pressed", "true")
    expect(browser_page.locator("#stars")).to_have_text("1")
    browser_page.keyboard.press("u")
    expect(second.get_by_role("button", name="reject")).to_have_attribute("aria-pressed", "false")
    browser_page.goto("/rate?study=colours&mode=single&show=star")

    expect(browser_page.locator(".shot")).to_have_count(1)
    assert [list(raters.values()) for raters in stored_marks(folder).values()] == [["star"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_page(browser_page, folder, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    browser_page.emulate_media(color_scheme=scheme)
    browser_page.set_viewport_size({"width": width, "height": 844})
    faults = []

    def look():
        found = Axe().run(browser_page).response["violations"]
        faults.extend((v["id"], v["nodes"][0]["html"]) for v in found)
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
        assert "owned" not in browser_page.title()  # a prompt is hostile markup

    browser_page.goto("/rate?study=colours")
    look()
    begin(browser_page)
    browser_page.get_by_label("Show settings and scores after each vote").check()
    for key in "12t":
        press(browser_page, key)
    browser_page.get_by_role("button", name="Show the ranking").click()
    expect(browser_page.locator("#ranking")).to_contain_text("2 decided pairs", timeout=SLOW)
    look()
    browser_page.goto("/rate?study=colours&mode=single")
    look()
    browser_page.goto("/rate")
    look()
    assert not faults
