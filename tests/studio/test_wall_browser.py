"""The wall in a real browser: clicks and keys, its address, bounded windows, axe."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from teststrip.study.folder import StudyFolder

MANY = 12_000
WALL = "/wall?study=colours&x=recipe.steps&y=recipe.scheduler&f.split=search"


@pytest.fixture(scope="module")
def home(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies, and one of 12,000 images: those of `colours` again and again."""
    place = tmp_path_factory.mktemp("home") / "data"
    shutil.copytree(made_home, place)
    shutil.copytree(place / "studies" / "colours", place / "studies" / "many")
    file = place / "studies" / "many" / "images.parquet"
    table = pd.read_parquet(file)
    whole = pd.concat([table] * (MANY // len(table) + 1)).head(MANY).reset_index(drop=True)
    whole["param.copy"] = [float(i // 100) for i in range(MANY)]
    whole["param.odd"] = [float(i % 97) for i in range(MANY)]
    whole.to_parquet(file)
    record = place / "studies" / "many" / "study.json"
    said = json.loads(record.read_text())
    said["name"] = "many"
    if isinstance(said.get("config"), dict):
        said["config"]["name"] = "many"
    record.write_text(json.dumps(said))
    return place


def ready(page: Any, address: str) -> Any:
    """The stage, once the images hang."""
    page.goto(address)
    page.locator("#stage[aria-busy=false]").wait_for()
    return page.locator("#stage")


def settled(page: Any, pattern: str) -> None:
    """Wait for an address and for the wall of it."""
    page.wait_for_url(re.compile(pattern))
    page.locator("#stage[aria-busy=false]").wait_for()


def nodes(page: Any) -> int:
    return int(page.evaluate("document.querySelectorAll('*').length"))


def test_cells_have_number_interval_and_matched_images(browser_page: Any) -> None:
    from playwright.sync_api import expect

    ready(browser_page, WALL)

    expect(browser_page.locator(".cell")).to_have_count(6)
    first = browser_page.locator("#cell-0-0")
    expect(first).to_contain_text(re.compile(r"-?\d\.\d+ ?-?\d\.\d+ to -?\d\.\d+"))
    expect(first).to_contain_text("4 prompts, 16 images")
    expect(first.locator("img")).to_have_count(4)
    expect(first.locator("img").first).to_have_js_property("complete", True)
    alts = [
        [image.get_attribute("alt") for image in cell.locator("img").all()]
        for cell in browser_page.locator(".cell").all()
    ]
    assert all(some == alts[0] for some in alts)


def test_arrows_enter_space_and_compare(browser_page: Any) -> None:
    from playwright.sync_api import expect

    stage = ready(browser_page, WALL)
    stage.focus()
    browser_page.keyboard.press("ArrowDown")
    browser_page.keyboard.press("ArrowRight")
    expect(stage).to_have_attribute("aria-activedescendant", "cell-1-1")
    browser_page.keyboard.press("2")
    browser_page.keyboard.press("Enter")
    look = browser_page.locator("#look")
    expect(look).to_contain_text("2 of 4")
    expect(look.locator("tr.differs").first).to_be_visible()
    browser_page.keyboard.press("ArrowRight")
    expect(look).to_contain_text("3 of 4")
    browser_page.keyboard.press("Escape")
    expect(look).not_to_be_visible()

    browser_page.keyboard.press("Space")
    browser_page.keyboard.press("ArrowLeft")
    browser_page.keyboard.press("Space")
    go = browser_page.locator("#tray a")
    expect(go).to_have_text("Compare 2")
    keys = re.findall(r"i=([0-9a-f]+)", go.get_attribute("href"))
    assert len(set(keys)) == 2
    assert "study=colours" in go.get_attribute("href")

    browser_page.reload()
    expect(browser_page.locator("#tray a")).to_have_text("Compare 2")
    browser_page.get_by_role("button", name="Clear", exact=True).click()
    expect(browser_page.locator("#tray")).to_be_hidden()


def test_controls_change_the_address_and_the_address_the_controls(browser_page: Any) -> None:
    from playwright.sync_api import expect

    ready(browser_page, WALL)
    browser_page.keyboard.press("x")
    settled(browser_page, r"x=recipe\.scheduler&y=recipe\.steps")
    browser_page.keyboard.press("m")
    settled(browser_page, "show=mean")
    expect(browser_page.locator(".cell img")).to_have_count(0)
    browser_page.get_by_label("Outer columns").select_option("seed")
    settled(browser_page, "x2=seed")
    browser_page.get_by_label("Order").select_option("-seconds")
    settled(browser_page, "sort=-seconds")
    browser_page.keyboard.press("Escape")

    browser_page.locator("h1").focus()
    browser_page.locator("#filter").click()
    expect(browser_page.locator("#q")).to_be_focused()
    browser_page.keyboard.type("fox")
    settled(browser_page, "q=fox")
    expect(browser_page.locator("#told")).to_contain_text("prompt has “fox”")
    browser_page.locator("#filters").get_by_label("30").check()
    settled(browser_page, r"f\.recipe\.steps=30")

    address = browser_page.url
    shown = browser_page.locator("#told p").first.inner_text()
    browser_page.reload()
    browser_page.locator("#stage[aria-busy=false]").wait_for()
    assert browser_page.url == address
    expect(browser_page.locator("#told p").first).to_have_text(shown)
    expect(browser_page.get_by_label("Outer columns")).to_have_value("seed")


def test_values_of_an_axis_are_hidden_and_brought_back(browser_page: Any) -> None:
    from playwright.sync_api import expect

    ready(browser_page, WALL)
    browser_page.get_by_role("button", name="20", exact=True).click()
    browser_page.get_by_role("button", name="Hide", exact=True).click()
    settled(browser_page, r"hide\.recipe\.steps=20")
    expect(browser_page.locator(".cell")).to_have_count(4)
    browser_page.get_by_role("button", name="hidden: 20").click()
    expect(browser_page.locator(".cell")).to_have_count(6)


def test_what_nothing_fits_says_so_and_is_undone_in_one_click(browser_page: Any) -> None:
    from playwright.sync_api import expect

    ready(browser_page, WALL)
    browser_page.keyboard.press("/")
    browser_page.keyboard.type("no such words")
    expect(browser_page.locator("#stage")).to_contain_text("No image fits")
    browser_page.get_by_role("button", name="Clear all filters").click()
    expect(browser_page.locator(".cell")).to_have_count(6)
    assert "split" not in browser_page.url


def test_a_wrong_number_is_told_on_the_page(browser_page: Any, forgiven: list[str]) -> None:
    from playwright.sync_api import expect

    forgiven.append("422")
    ready(browser_page, WALL)
    browser_page.keyboard.press("/")
    browser_page.locator("#filters summary").click()
    browser_page.get_by_label("seconds, from").fill("fast")
    expect(browser_page.get_by_role("alert")).to_contain_text("a number is accepted")


def test_links_to_the_images_behind_a_number_show_these_images(browser_page: Any) -> None:
    from playwright.sync_api import expect

    stage = ready(browser_page, WALL)
    stage.focus()
    browser_page.keyboard.press("a")
    browser_page.wait_for_url(re.compile("x=none.*f.recipe.steps=10"))
    expect(browser_page.locator(".tile")).to_have_count(16)
    browser_page.go_back()
    expect(browser_page.locator(".cell")).to_have_count(6)


def test_twelve_thousand_images_keep_the_document_small(browser_page: Any) -> None:
    from playwright.sync_api import expect

    stage = ready(browser_page, "/wall?study=many&x=none&y=none")
    expect(browser_page.locator("#told")).to_contain_text("12,000 images")
    most = nodes(browser_page)
    heights = browser_page.evaluate("document.querySelector('#stage').scrollHeight")
    for part in range(1, 9):
        stage.evaluate("(s, y) => { s.scrollTop = y; }", heights * part / 9)
        expect(browser_page.locator(".tile.waits")).to_have_count(0)
        expect(browser_page.locator(".tile img").first).to_be_visible()
        most = max(most, nodes(browser_page))
    stage.focus()
    browser_page.keyboard.press("End")
    expect(browser_page.locator(f"#tile-{MANY - 1} img")).to_be_visible()
    browser_page.keyboard.press("Enter")
    expect(browser_page.locator("#look")).to_contain_text("12,000 of 12,000")
    assert most <= 2000


def test_a_big_wall_keeps_only_the_cells_in_sight(browser_page: Any) -> None:
    from playwright.sync_api import expect

    address = "/wall?study=many&x=recipe_id&y=prompt&x2=seed&y2=param.copy&show=mean"
    stage = ready(browser_page, address)
    assert int(stage.get_attribute("aria-rowcount")) > 40
    assert nodes(browser_page) <= 2000
    stage.focus()
    browser_page.keyboard.press("End")
    browser_page.keyboard.press("PageDown")
    browser_page.keyboard.press("PageDown")
    expect(browser_page.locator(".cell.here")).to_be_visible()
    assert nodes(browser_page) <= 2000


def test_a_running_study_hangs_its_new_images_by_itself(
    browser_page: Any, home: Path, parts: Any
) -> None:
    from playwright.sync_api import expect

    folder = home / "studies" / "growing"
    shutil.copytree(home / "studies" / "colours", folder)
    record = json.loads((folder / "study.json").read_text())
    table = pd.read_parquet(folder / "images.parquet")
    (folder / "study.json").write_text(json.dumps(record | {"name": "growing", "state": "running"}))
    table.head(40).to_parquet(folder / "images.parquet")

    with StudyFolder(folder).locked():
        parts.index.refresh(home)
        ready(browser_page, "/wall?study=growing&x=recipe.steps&y=recipe.scheduler")
        expect(browser_page.locator("#told")).to_contain_text("40 images")
        expect(browser_page.locator("#told")).to_contain_text("the study is running")
        table.head(60).to_parquet(folder / "images.parquet")
        expect(browser_page.locator("#told")).to_contain_text("60 images")


def test_hostile_words_stay_words(browser_page: Any) -> None:
    from playwright.sync_api import expect

    ready(browser_page, "/wall?study=colours&x=prompt&y=tag")
    expect(browser_page.get_by_role("button", name="<b>bold</b>")).to_be_visible()
    expect(browser_page.locator(".head", has_text="<script>")).to_be_visible()
    browser_page.goto("/wall?study=colours&f.tag=<b>bold</b>")
    browser_page.locator(".tile img").first.click()
    expect(browser_page.locator("#look .prompt")).to_contain_text("<script>document.title")
    assert "owned" not in browser_page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_axe_finds_nothing_serious(browser_page: Any, scheme: str, size: tuple[int, int]) -> None:
    from axe_playwright_python.sync_playwright import Axe

    browser_page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    browser_page.set_viewport_size({"width": size[0], "height": size[1]})
    found = []
    for address in (WALL, "/wall?study=colours&x=none&y=none", "/wall/table?" + WALL[6:]):
        browser_page.goto(address)
        if "table" not in address:
            browser_page.locator("#stage[aria-busy=false]").wait_for()
            browser_page.locator("#filter").click()
        found += Axe().run(browser_page).response["violations"]
        wide = browser_page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], address
    browser_page.goto(WALL)
    browser_page.locator(".pic").first.click()
    browser_page.locator("#look .facts").wait_for()
    found += Axe().run(browser_page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    told = [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in serious]
    assert not told, told
