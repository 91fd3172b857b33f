"""Every page in a real browser: accessible, nothing wider than a phone, light and dark."""

import pytest

PAGES = (
    "/",
    "/studies/colours",
    "/wall?study=colours",
    "/wall?study=colours&x=&y=",
    "/findings?study=colours",
    "/compare?study=colours",
    "/rate?study=colours",
    "/live",
    "/playground",
    "/runs",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_serious_fault_and_fits(browser_page, path, scheme):
    from axe_playwright_python.sync_playwright import Axe

    width = 1280 if scheme == "light" else 390
    browser_page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    browser_page.set_viewport_size({"width": width, "height": 844})
    browser_page.goto(path)
    browser_page.wait_for_load_state("networkidle")

    found = Axe().run(browser_page).response["violations"]
    bad = [
        (rule["id"], node["html"][:200], node.get("failureSummary", "")[:200])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]
    assert not bad, bad
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    assert browser_page.locator("h1").count() >= 1
    assert browser_page.title()


def test_the_first_key_leads_past_the_navigation(browser_page):
    browser_page.goto("/studies/colours")
    browser_page.keyboard.press("Tab")
    browser_page.keyboard.press("Enter")

    assert browser_page.evaluate("document.activeElement.id") == "main"


def test_hostile_prompts_and_tags_stay_text_on_every_page(browser_page):
    for path in PAGES:
        browser_page.goto(path)
        browser_page.wait_for_load_state("networkidle")
        assert "owned" not in browser_page.title()
        assert browser_page.locator("img[onerror]").count() == 0
        assert browser_page.locator("b", has_text="bold").count() == 0


def test_a_page_that_is_not_there_says_so(browser_page, forgiven):
    forgiven.append("404")
    browser_page.goto("/studies/nothing")

    assert browser_page.locator("h1").inner_text() == "Not found"
    browser_page.get_by_role("link", name="All studies").click()
    browser_page.wait_for_url("**/")
