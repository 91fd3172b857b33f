"""The tint of a wall runs over most cells; the picture of a view without axes is bounded."""

import io
from typing import Any

import pytest
from PIL import Image

from teststrip.studio.wall import drawing, flat_picture, picture
from teststrip.studio.wall.heat import heat_of

FLAT = "study=colours&x=none&y=none"


def test_two_cells_far_away_leave_the_others_their_colours() -> None:
    means = [-50.0, *(i / 38 for i in range(39)), 90.0]
    heat = heat_of(means)

    assert heat is not None
    assert heat.below
    assert heat.above
    assert 0 <= heat.low < heat.high <= 1
    assert heat.share(90.0, True) == 1 == heat.share(-50.0, False)
    assert heat.share(0.5, True) == pytest.approx(0.5, abs=0.03)


def test_the_range_is_the_5_and_95_percent_quantile() -> None:
    heat = heat_of([float(i) for i in range(101)])

    assert heat is not None
    assert (heat.low, heat.high) == (5.0, 95.0)


def test_few_cells_are_all_within_the_range() -> None:
    heat = heat_of([3.0, None, 1.0, 2.0])

    assert heat is not None
    assert (heat.low, heat.high, heat.below, heat.above) == (1.0, 3.0, False, False)
    assert heat.share(1.0, True) == 0
    assert heat.share(None, True) == 0


def test_one_cell_unlike_all_others_is_still_seen() -> None:
    heat = heat_of([1.0] * 30 + [2.0])

    assert heat is not None
    assert heat.share(2.0, True) == 1
    assert not heat.above


def test_no_mean_no_heat() -> None:
    assert heat_of([None, None]) is None
    alike = heat_of([2.0] * 12)
    assert alike is not None
    assert alike.share(2.0, True) == 0


def test_the_page_gets_the_range_of_the_shown_means(client: Any) -> None:
    wall = client.get("/wall/cells.json?study=colours&x=recipe_id").json()

    means = sorted(cell[6] for cell in wall["cells"])
    assert len(means) >= 10
    assert means[0] < wall["heat"]["low"] < wall["heat"]["high"] < means[-1]
    assert wall["heat"]["below"]
    assert wall["heat"]["above"]


def test_the_picture_says_where_its_tint_ends() -> None:
    cut = heat_of([float(i) for i in range(101)])
    whole = heat_of([1.0, 2.0])

    assert picture.tint_words(cut) == "tint from 5.0 or less to 95.0 or more"
    assert picture.tint_words(whole) == "tint from 1.00 to 2.00"
    assert picture.tint_words(None) == ""


def test_a_view_without_axes_is_drawn_with_all_its_images(client: Any) -> None:
    answer = client.get(f"/wall/export.png?{FLAT}&size=96")

    drawn = Image.open(io.BytesIO(answer.content))
    total = client.get(f"/wall/images.json?{FLAT}").json()["counts"]["total"]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'attachment; filename="wall-colours.png"'
    across, step, _ = flat_picture.fitting(96)
    assert drawn.height == drawing.TOP + drawing.PAD + -(-total // across) * step
    assert len(drawn.getcolors(1 << 24) or []) > 50


@pytest.mark.parametrize("size", [96, 384])
def test_only_the_first_images_are_drawn_and_it_says_so(
    client: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    said: list[str] = []
    write = drawing.write

    def listen(pen: Any, at: Any, text: str, px: int, **how: Any) -> None:
        said.append(text)
        write(pen, at, text, px, **how)

    monkeypatch.setattr(flat_picture, "MOST_TILES", 5)
    monkeypatch.setattr(drawing, "write", listen)
    answer = client.get(f"/wall/export.png?{FLAT}&size={size}&sort=-synthetic@1")
    page = client.get(f"/wall/images.json?{FLAT}&sort=-synthetic@1").json()

    total = page["counts"]["total"]
    assert answer.status_code == 200
    assert f"the first 5 of {total} images, sorted by synthetic@1, worst first" in said[1]
    wanted = [(f"{i['s']:.4g}", f"seed {i['seed']}") for i in page["images"][:5]]
    assert said[3:] == [text for both in wanted for text in both]


@pytest.mark.parametrize("size", [96, 192, 384])
def test_the_largest_picture_stays_within_its_side(size: int) -> None:
    across, step, most = flat_picture.fitting(size)

    high = drawing.TOP + drawing.PAD + -(-most // across) * step
    assert high <= drawing.MOST_SIDE
    assert high * flat_picture.WIDE <= picture.MOST_PIXELS


def test_the_legend_says_that_its_ends_are_cut(browser_page: Any) -> None:
    from playwright.sync_api import expect

    browser_page.set_viewport_size({"width": 2400, "height": 800})  # every cell in sight
    browser_page.goto("/wall?study=colours&x=recipe_id&show=mean")

    expect(browser_page.locator(".legend .num").first).to_contain_text("≤ ")
    expect(browser_page.locator(".legend .num").last).to_contain_text("≥ ")
    tints = browser_page.locator(".cell").evaluate_all(
        "cells => cells.map(c => parseFloat(c.style.getPropertyValue('--share')))"
    )
    assert max(tints) == 38
    assert min(tints) == 0


def test_a_view_without_axes_can_be_saved_as_a_picture(browser_page: Any) -> None:
    browser_page.goto(f"/wall?{FLAT}&f.recipe.steps=30")
    browser_page.get_by_text("Save", exact=False).first.click()
    with browser_page.expect_download() as found:
        browser_page.get_by_role("link", name="Picture (PNG)").click()

    assert found.value.suggested_filename == "wall-colours.png"
