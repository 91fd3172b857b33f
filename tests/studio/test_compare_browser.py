"""Compare in a real browser: keys, drags, wheel, and numbers worked out from the originals."""

import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

Row = dict[str, Any]


@pytest.fixture(scope="module")
def shots(parts: Any) -> list[Row]:
    """Four images of one prompt and seed: steps 20 of both schedulers, 10 and 30."""
    parts.analysis("colours")  # once, so that no page waits for it
    table = parts.index.table("colours")
    found = parts.index.query(
        f"SELECT * FROM {table} WHERE split = 'search' "
        f'AND "recipe.guidance" = 7.5 AND block = 0 ORDER BY image_id'
    )
    by = {(row["recipe.scheduler"], row["recipe.steps"]): row for row in found}
    wanted = [("ddim", 20), ("euler", 20), ("ddim", 10), ("euler", 30)]
    return [by[name] for name in wanted]


def address(shots: list[Row], **more: str) -> str:
    keys = "&".join(f"i={row['image_key']}" for row in shots)
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return f"/compare?study=colours&{keys}&x=recipe.steps&y=recipe.guidance{rest}"


@pytest.fixture
def opened(browser_page: Any, shots: list[Row]) -> Iterator[Any]:
    """The page of two images, its neighbours fetched."""
    go(browser_page, address(shots[:2]))
    return browser_page


def go(page: Any, place: str) -> None:
    page.goto(place)
    ready(page)


def ready(page: Any) -> None:
    """The neighbours of the chosen image are known, and the evidence has come."""
    page.wait_for_selector("#compare.ready")
    expect(page.locator(".axis output").first).not_to_have_text("–")
    page.wait_for_selector("#evidence .more", state="attached")


def keys(page: Any) -> list[str]:
    """What the stage shows, by place."""
    found: list[str] = page.eval_on_selector_all(
        ".frame[data-key]", "frames => frames.map(f => f.dataset.key)"
    )
    return found


def row_of(parts: Any, key: str) -> Row:
    table = parts.index.table("colours")
    found: Row = parts.index.query(f"SELECT * FROM {table} WHERE image_key = ?", [key])[0]
    return found


def style(page: Any, selector: str, name: str) -> str:
    return str(page.eval_on_selector(selector, f"e => getComputedStyle(e).{name}"))


def test_the_border_follows_a_drag_and_its_own_keys(opened: Any) -> None:
    stage = opened.locator("#stage").bounding_box()
    middle = stage["y"] + stage["height"] / 3

    opened.mouse.move(stage["x"] + stage["width"] * 0.5, middle)
    opened.mouse.down()
    opened.mouse.move(stage["x"] + stage["width"] * 0.25, middle, steps=4)
    opened.mouse.up()

    handle = opened.locator("#handle")
    assert handle.get_attribute("aria-valuenow") == "25"
    clip = style(opened, '.frame[data-letter="B"]', "clipPath")
    assert float(re.findall(r"[\d.]+%", clip)[-1].rstrip("%")) == pytest.approx(25, abs=0.5)
    handle.focus()
    opened.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "27"
    opened.keyboard.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"


def test_the_border_turns(opened: Any) -> None:
    opened.keyboard.press("v")

    assert opened.locator("#turn").get_attribute("aria-pressed") == "true"
    assert opened.locator("#handle").get_attribute("aria-orientation") == "vertical"
    stage = opened.locator("#stage").bounding_box()
    opened.mouse.click(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] * 0.75)
    assert opened.locator("#handle").get_attribute("aria-valuenow") == "75"
    assert style(opened, '.frame[data-letter="B"]', "clipPath").startswith("inset(75")


def test_an_arrow_moves_along_one_setting(opened: Any, parts: Any, shots: list[Row]) -> None:
    assert keys(opened)[1] == shots[1]["image_key"]

    opened.keyboard.press("ArrowRight")

    first, second = keys(opened)
    moved = row_of(parts, second)
    assert first == shots[0]["image_key"]
    assert (moved["recipe.steps"], moved["recipe.scheduler"]) == (30, "euler")
    assert (moved["prompt_id"], moved["seed"]) == (shots[0]["prompt_id"], shots[0]["seed"])
    assert "steps 20 → 30, all else the same" in opened.locator("#moved").inner_text()
    opened.wait_for_url(f"**i={second}**")
    opened.wait_for_selector(f'#told a[href*="{second}"]')
    assert "30" in opened.locator("#told tr.differs", has_text="steps").inner_text()


def test_the_next_image_needs_no_network(opened: Any, forgiven: list[str]) -> None:
    forgiven += ["ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest"]
    opened.wait_for_load_state("networkidle")
    opened.context.set_offline(True)
    before = keys(opened)[1]

    opened.keyboard.press("ArrowRight")
    size = opened.eval_on_selector(
        '.frame[data-letter="B"] img', "img => img.complete && img.naturalWidth"
    )

    assert keys(opened)[1] != before
    assert size == 16  # there at once, from memory


def test_up_and_down_move_along_the_other_setting(opened: Any, parts: Any) -> None:
    before = row_of(parts, keys(opened)[1])

    opened.keyboard.press("ArrowDown")

    after = row_of(parts, keys(opened)[1])
    assert (before["recipe.guidance"], after["recipe.guidance"]) == (7.5, 4.5)
    assert after["recipe.steps"] == before["recipe.steps"]


def test_a_way_back_leads_to_the_same_image(opened: Any) -> None:
    before = keys(opened)

    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowRight"):
        opened.keyboard.press(key)

    assert keys(opened) == before


def test_keys_that_are_faster_than_the_server_wait_their_turn(opened: Any, parts: Any) -> None:
    before = row_of(parts, keys(opened)[1])

    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight"):
        opened.keyboard.press(key)

    expect(opened.locator(".frame").first).not_to_have_attribute("data-seed", str(before["seed"]))
    after = row_of(parts, keys(opened)[1])
    assert (after["recipe.steps"], after["recipe.guidance"]) == (30, 4.5)
    assert after["seed"] != before["seed"]
    assert after["prompt_id"] == before["prompt_id"]


def test_the_end_of_a_line_is_told(opened: Any) -> None:
    for _ in range(3):
        opened.keyboard.press("ArrowRight")

    assert "is the last" in opened.locator("#moved").inner_text()
    assert opened.locator('.axis[data-axis="x"] [data-step="1"]').is_disabled()


def test_shift_and_alt_move_seed_and_prompt_of_all_images(
    opened: Any, parts: Any, shots: list[Row]
) -> None:
    opened.keyboard.press("Shift+ArrowRight")
    moved = [row_of(parts, key) for key in keys(opened)]
    assert len({row["seed"] for row in moved}) == 1
    assert moved[0]["seed"] != shots[0]["seed"]
    assert [row["recipe_id"] for row in moved] == [row["recipe_id"] for row in shots[:2]]

    opened.keyboard.press("Alt+ArrowRight")
    expect(opened.locator(".frame").first).not_to_have_attribute("data-key", moved[0]["image_key"])
    further = [row_of(parts, key) for key in keys(opened)]
    assert len({row["prompt_id"] for row in further}) == 1
    assert further[0]["prompt_id"] != shots[0]["prompt_id"]
    assert "not a matched pair" not in opened.locator("#told").inner_text()


def test_alone_only_the_chosen_image_changes_its_seed(opened: Any, parts: Any) -> None:
    opened.locator("#together").uncheck()
    opened.keyboard.press("1")
    before = keys(opened)

    opened.keyboard.press("Shift+ArrowRight")

    after = keys(opened)
    assert after[1] == before[1]
    assert row_of(parts, after[0])["seed"] != row_of(parts, before[0])["seed"]
    opened.wait_for_selector("#told >> text=not a matched pair")


def test_the_difference_is_that_of_the_originals(
    browser_page: Any, parts: Any, shots: list[Row]
) -> None:
    go(browser_page, address(shots[:2], mode="difference"))
    expect(browser_page.locator("#share")).not_to_have_text("–")

    a, b = (
        np.asarray(Image.open(io.BytesIO(parts.pictures.original("colours", r["image_key"]))), int)
        for r in shots[:2]
    )
    levels = np.abs(a - b).max(axis=2)
    assert browser_page.inner_text("#share") == f"{100 * (levels > 0).mean():.1f} %"
    assert browser_page.inner_text("#largest") == f"{levels.max()} of 255"
    assert browser_page.inner_text("#mean") == f"{levels.mean():.1f} of 255"
    canvas = browser_page.evaluate(
        "(() => { const c = document.getElementById('heat');"
        "return [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, 1, 1).data]; })()"
    )
    assert canvas[:2] == [16, 16]
    browser_page.locator("#above").fill("64")
    share = f"{100 * (levels > 64).mean():.1f} %"
    assert browser_page.inner_text("#share") == share


def test_the_heat_maps_colours_only_darken(opened: Any) -> None:
    light = opened.evaluate(
        "import(document.querySelector('script[src$=\"compare.js\"]').src"
        ".replace('compare.js', 'compare-heat.js')).then(m => m.COLOURS.map("
        "([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b))"
    )

    assert len(light) == 256
    assert all(after < before + 1e-9 for before, after in pairwise(light))
    assert light[0] > 240
    assert light[-1] < 20


def numbers(matrix: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?[\d.]+", matrix)]


def test_zoom_and_pan_are_linked(browser_page: Any, shots: list[Row]) -> None:
    go(browser_page, address(shots, mode="side"))
    frame = browser_page.locator('.frame[data-letter="A"]').bounding_box()
    centre = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)

    browser_page.mouse.move(*centre)
    browser_page.mouse.wheel(0, -400)
    expect(browser_page.locator("#stage")).to_have_attribute("data-zoomed", "true")

    def transforms() -> set[str]:
        return set(
            browser_page.eval_on_selector_all(
                ".frame[data-key] img", "all => all.map(i => getComputedStyle(i).transform)"
            )
        )

    zoomed = transforms()
    assert len(zoomed) == 1
    assert style(browser_page, ".frame img", "imageRendering") == "pixelated"
    browser_page.mouse.down()
    browser_page.mouse.move(centre[0] + 40, centre[1] + 20, steps=3)
    browser_page.mouse.up()
    panned = transforms()
    assert len(panned) == 1
    assert panned != zoomed
    place = browser_page.evaluate(
        "['--scale', '--tx', '--ty'].map(n => parseFloat("
        "document.getElementById('stage').style.getPropertyValue(n)))"
    )
    kept = [place[0], place[1] / 100, place[2] / 100]
    expect(browser_page).to_have_url(re.compile("z=" + "%2C".join(f"{n:.3f}" for n in kept)))
    browser_page.reload()
    ready(browser_page)
    again = numbers(transforms().pop())
    assert again == pytest.approx(numbers(panned.pop()), abs=0.6)  # of a pixel
    browser_page.keyboard.press("0")
    assert transforms() == {"matrix(1, 0, 0, 1, 0, 0)"}
    browser_page.keyboard.press("+")
    assert browser_page.inner_text("#zoom-told") == "150 %"
    browser_page.keyboard.press("-")
    assert browser_page.inner_text("#zoom-told") == "100 %"


def test_two_fingers_zoom(opened: Any) -> None:
    opened.evaluate(
        """() => {
        const stage = document.getElementById('stage'), box = stage.getBoundingClientRect();
        stage.setPointerCapture = () => {};
        const send = (type, id, x) => stage.querySelector('.frame').dispatchEvent(new PointerEvent(
          type, { bubbles: true, pointerId: id, pointerType: 'touch', button: 0,
                  clientX: box.left + x, clientY: box.top + 100 }));
        document.querySelector('.modes [data-mode=side]').click();
        send('pointerdown', 11, 100); send('pointerdown', 12, 140);
        send('pointermove', 12, 220);
        send('pointerup', 12, 220); send('pointerup', 11, 100);
        }"""
    )

    assert opened.inner_text("#zoom-told") == "300 %"


def test_fade_and_modes_by_key(opened: Any) -> None:
    opened.keyboard.press("f")
    opened.locator("#fade").fill("30")
    assert style(opened, '.frame[data-letter="B"]', "opacity") == "0.3"

    opened.locator("h1").click()
    for key, mode in [("d", "difference"), ("g", "side"), ("b", "blink"), ("s", "slider")]:
        opened.keyboard.press(key)
        assert opened.locator("#stage").get_attribute("data-mode") == mode
        assert opened.locator(f'.modes [data-mode="{mode}"]').get_attribute("aria-pressed")
    opened.wait_for_url("**mode=slider**")


def test_blinking_changes_the_image_and_can_be_paused(opened: Any) -> None:
    opened.keyboard.press("b")
    opened.locator("#speed").fill("3")
    second = '.frame[data-letter="B"]'
    expect(opened.locator(second)).to_have_class(re.compile(r"\boff\b"))
    expect(opened.locator(second)).not_to_have_class(re.compile(r"\boff\b"))

    opened.locator("#blink").click()

    assert opened.inner_text("#blink") == "Play"


def test_nothing_blinks_by_itself_where_motion_is_reduced(
    browser_page: Any, shots: list[Row]
) -> None:
    browser_page.emulate_media(reduced_motion="reduce")
    browser_page.clock.install()
    go(browser_page, address(shots[:2], mode="blink"))

    def hidden() -> list[bool]:
        found: list[bool] = browser_page.eval_on_selector_all(
            ".frame[data-key]", "all => all.map(f => f.classList.contains('off'))"
        )
        return found

    before = hidden()
    browser_page.clock.run_for(10_000)
    assert hidden() == before
    assert sorted(before) == [False, True]
    browser_page.keyboard.press(" ")
    assert hidden() == before[::-1]


def test_four_images_the_chosen_one_lies_over_the_first(
    browser_page: Any, shots: list[Row]
) -> None:
    go(browser_page, address(shots, mode="slider"))

    browser_page.keyboard.press("3")

    shown = browser_page.eval_on_selector_all(
        ".frame[data-key]:not(.away)", "all => all.map(f => f.dataset.letter)"
    )
    assert shown == ["A", "C"]
    browser_page.wait_for_url("**focus=3**")
    browser_page.reload()
    ready(browser_page)
    assert browser_page.locator('.who[data-focus="2"]').get_attribute("aria-pressed") == "true"


def test_only_what_differs_is_shown_until_all_is_asked_for(opened: Any) -> None:
    table = opened.locator("table.apart")
    assert table.locator("tr:visible", has_text="scheduler").count() == 1
    assert table.locator("tr:visible", has_text="negative prompt").count() == 0

    opened.locator("#all-settings").check()
    assert table.locator("tr:visible", has_text="negative prompt").count() == 1

    opened.keyboard.press("ArrowRight")  # the switch stays as it is
    opened.wait_for_selector("#told tr.differs >> text=steps")
    assert opened.locator("#all-settings").is_checked()


def test_settings_are_copied(opened: Any) -> None:
    opened.locator("#copying-B summary").click()
    opened.locator('#copying-B [aria-label="Copy as A1111"]').click()
    opened.wait_for_selector("#notice.shown")

    text = opened.evaluate("navigator.clipboard.readText()")

    assert "Sampler: Euler" in text
    assert "Steps: 20" in text


def test_the_original_comes_as_a_file(opened: Any, parts: Any, shots: list[Row]) -> None:
    with opened.expect_download() as waiting:
        opened.locator('.shot[data-letter="A"] >> text=Download original').click()

    key = shots[0]["image_key"]
    assert waiting.value.suggested_filename == f"colours-{key}.png"
    assert Path(waiting.value.path()).read_bytes() == parts.pictures.original("colours", key)


def test_an_unknown_image_is_told_and_the_other_can_be_moved(
    browser_page: Any, shots: list[Row]
) -> None:
    page = browser_page
    page.goto(f"/compare?study=colours&i=nosuch&i={shots[1]['image_key']}&x=recipe.steps")
    ready(page)

    page.wait_for_selector(".frame.gone >> text=no image of that key")
    page.keyboard.press("ArrowLeft")
    assert keys(page)[0] == "nosuch"
    assert keys(page)[1] != shots[1]["image_key"]
    page.keyboard.press("1")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#moved")).to_contain_text("unknown")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("mode", ["slider", "difference", "side"])
def test_it_is_accessible_and_fits(
    browser_page: Any, shots: list[Row], scheme: str, width: int, mode: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    browser_page.set_viewport_size({"width": width, "height": 800})
    browser_page.emulate_media(color_scheme=scheme)
    go(browser_page, address(shots[:2], mode=mode))
    browser_page.locator("#copying-A summary").click()
    browser_page.wait_for_selector("#copying-A pre")

    found = Axe().run(browser_page).response["violations"]

    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], [n["html"] for n in v["nodes"]]) for v in serious]
    assert browser_page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pairs_lead_to_their_comparison(browser_page: Any) -> None:
    browser_page.goto("/compare?study=colours")
    browser_page.locator(".pair").first.click()

    ready(browser_page)
    assert len(keys(browser_page)) == 2


def test_a_vanished_original_leaves_the_rest_at_work(
    browser_page: Any, parts: Any, home: Path, shots: list[Row], forgiven: list[str]
) -> None:
    forgiven.append("404")
    gone = home / "studies" / "colours" / shots[3]["png"]
    gone.unlink()

    go(browser_page, address([shots[0], shots[3]], mode="side"))

    browser_page.wait_for_selector('.frame.gone[data-letter="B"] >> text=gone from the store')
    assert browser_page.locator('.frame.gone[data-letter="A"]').count() == 0
    assert "steps" in browser_page.locator("table.apart").inner_text()
    browser_page.keyboard.press("d")
    browser_page.wait_for_selector("#heat-fault >> text=cannot be read")
    browser_page.keyboard.press("ArrowLeft")  # to one that is there
    expect(browser_page.locator("#share")).not_to_have_text("–")
