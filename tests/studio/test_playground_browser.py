"""The playground in a real browser: typed, made, compared, saved; on a phone, in the dark."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teststrip.testing.synthetic import SyntheticGenerator


@pytest.fixture(scope="module")
def parts(home: Path) -> Iterator[Any]:
    """The real parts, with a generator that needs no model but some time."""
    from teststrip.wire.studio import opened

    with opened(home, every_s=0.2) as made:
        yield replace(made, generator=lambda: SyntheticGenerator(delay_s=0.2))


def make(page: Any, prompt: str, seeds: str = "0-2", steps: str = "8") -> None:
    page.get_by_label("Prompt", exact=True).fill("")
    page.get_by_label("Prompt", exact=True).press_sequentially(prompt)
    page.get_by_label("Steps").fill(steps)
    page.get_by_label("Seeds, at most").fill(seeds)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**job=**")


def first_job(page: Any, state: str = "done") -> Any:
    job = page.locator(f'article.pg-job:first-of-type[data-state="{state}"]')
    job.wait_for(timeout=30_000)
    return job


def test_pictures_appear_as_they_finish_and_the_end_is_told(browser_page: Any) -> None:
    page = browser_page
    page.goto("/playground")
    make(page, "an owl & a <b>fox</b>", "3, 10-12")
    job = page.locator(".pg-job").first
    job.locator("progress").wait_for()
    job.locator("img").first.wait_for()
    box = job.locator('input[name="i"]').first
    box.check()
    done = first_job(page)

    assert done.locator("img").count() == 4
    assert done.locator('input[name="i"]').first.is_checked()  # ticks outlive the polling
    page.locator("#notice.shown", has_text="4 pictures ready").wait_for()
    assert page.get_by_label("Seeds, at most").input_value() == "3, 10-12"
    assert done.locator("h2").inner_text() == "an owl & a <b>fox</b>"
    assert done.locator("b").count() == 0


def test_a_job_is_cancelled_and_deleted(browser_page: Any) -> None:
    page = browser_page
    page.goto("/playground")
    make(page, "a slow boat", "0-15")
    page.locator(".pg-job").first.get_by_role("button", name="Cancel").click()
    job = first_job(page, "cancelled")

    assert job.locator("img").count() < 16
    before = page.locator(".pg-job").count()
    page.on("dialog", lambda dialog: dialog.accept())
    job.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/playground#made")
    assert page.locator(".pg-job").count() == before - 1


def test_two_pictures_are_compared_and_settings_copied(browser_page: Any) -> None:
    page = browser_page
    page.goto("/playground")
    make(page, "a red apple", "0-1", "8")
    first_job(page)
    make(page, "a red apple", "0-1", "20")
    first_job(page)
    assert page.get_by_role("button", name="Compare").is_disabled()
    for at in (0, 2):
        page.locator('input[name="i"]').nth(at).check()
    page.get_by_role("button", name="Compare").click()
    slide = page.get_by_label("A on the left")
    slide.focus()
    page.keyboard.press("ArrowLeft")
    assert slide.input_value() == "49"
    page.get_by_role("button", name="Difference").click()
    assert page.locator("[data-difference]").get_attribute("aria-pressed") == "true"
    assert page.locator("tbody th").all_inner_texts() == ["steps"]

    page.locator(".pg-side a").first.click()
    page.get_by_role("button", name="Copy A1111 text").click()
    page.locator("#notice.shown", has_text="copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()").startswith(
        "a red apple\nSteps: 20"
    )
    page.keyboard.press("ArrowRight")
    page.locator("figcaption", has_text="seed 1").wait_for()
    page.get_by_role("link", name="Vary the seed").click()
    assert page.get_by_label("Seeds, at most").input_value() == "1, 2-8"


def test_a_study_is_drafted_and_waits_to_be_run(browser_page: Any, home: Path) -> None:
    page = browser_page
    page.goto("/playground")
    make(page, "a lighthouse", "0")
    first_job(page).get_by_role("link", name="Make a study around this").click()
    page.get_by_label("Name").fill("near-lighthouse")
    page.get_by_label("Prompts, one a line").press("Control+End")
    page.get_by_label("Prompts, one a line").press_sequentially("\na mill\na barn\na tower")
    page.get_by_role("button", name="Show the file").click()
    page.locator("#yaml", has_text="held_out: 0.25").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "near-lighthouse.yaml"
    page.get_by_role("button", name="Save as a draft").click()
    page.get_by_role("heading", name="Saved").wait_for()

    assert "study plan" in page.locator("#commands").inner_text()
    assert (home / "drafts" / "near-lighthouse.yaml").is_file()
    assert not (home / "studies" / "near-lighthouse").exists()


def test_faults_are_shown_at_once_and_lead_to_their_fields(
    browser_page: Any, forgiven: list[str]
) -> None:
    forgiven.append("422")
    page = browser_page
    page.goto("/playground")
    page.get_by_label("Steps").fill("0")
    page.get_by_label("Seeds, at most").fill("nine")
    page.get_by_label("Prompt", exact=True).fill("kept")
    page.get_by_role("button", name="Make").click()
    page.get_by_role("alert").wait_for()

    assert page.get_by_label("Prompt", exact=True).input_value() == "kept"
    assert page.locator("#faults").evaluate("e => e === document.activeElement")
    page.locator("#faults").get_by_role("link", name="Seeds").click()
    assert page.get_by_label("Seeds, at most").evaluate("e => e.matches(':target')")
    page.get_by_role("button", name="Other seeds").click()
    assert page.get_by_label("Seeds, at most").input_value().isdecimal()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_axe_finds_nothing_serious(
    browser_page: Any, scheme: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = browser_page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("/playground")
    make(page, "a fox", "0-1")
    first_job(page)
    job = page.url.partition("job=")[2].partition("#")[0]
    ticks = page.locator('input[name="i"]')
    places = [ticks.nth(at).get_attribute("value") for at in (0, 1)]
    for address in (
        f"/playground?job={job}",
        f"/playground/pictures/{places[0]}",
        f"/playground/compare?i={places[0]}&i={places[1]}",
        f"/playground/study?job={job}",
    ):
        page.goto(address)
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [
            (v["id"], [n["target"] for n in v["nodes"]][:3])
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
        assert not serious, (address, serious)
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= width, (address, wide)
