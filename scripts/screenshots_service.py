"""The pictures of docs/service.md: the service's page on the demo's champion, taken in Chromium.

make demo && .venv/bin/python scripts/screenshots_service.py
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from teststrip.serve.champion import ChampionWatch
from teststrip.serve.config import ServiceConfig
from teststrip.testing import browser
from teststrip.testing.service_thread import served
from teststrip.wire import service
from teststrip.wire.bench import Bench
from teststrip.wire.champion import promote

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images" / "service"
TEMPLATES = """\
studio: a commercial studio photo of {product}, professional contrast lighting
catalogue: "{product} on a plain white background, soft light"
"""
PRODUCTS = (("a crown", 4), ("a guitar", 1), ("a trophy", 4), ("a shoe", 8))


def make(page: Any, product: str, count: int) -> None:
    """Type it, choose how many, press the button; its job is the first of the page."""
    page.get_by_role("textbox", name="Product").fill(product)
    page.locator(f".counts label:has(input[value='{count}'])").click()
    page.get_by_role("button", name="Make", exact=True).click()
    page.locator("#jobs article:first-child h2", has_text=product).wait_for()


def ended(page: Any) -> None:
    """Wait until the newest job is done and its pictures are there."""
    page.locator("#jobs article:first-child[data-state=done]").wait_for(timeout=120_000)
    page.wait_for_function("() => [...document.images].every((i) => i.complete)")
    page.locator("#notice:not(.shown)").wait_for(state="attached", timeout=15_000)


def take(page: Any, name: str, scheme: str = "light", width: int = 1280, height: int = 820) -> None:
    """A picture of what is in view."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": height})
    page.mouse.move(0, 0)
    page.screenshot(path=str(OUT / f"{name}.png"))
    print(OUT.relative_to(ROOT) / f"{name}.png")


def tour(page: Any) -> None:
    """Every state of the page that a reader should see."""
    page.goto("/")
    take(page, "empty")
    for product, count in PRODUCTS[:-1]:
        make(page, product, count)
        ended(page)
    page.get_by_role("button", name="Good: picture 1", exact=True).first.click()
    page.get_by_role("button", name="Good: picture 4", exact=True).first.click()
    page.get_by_role("button", name="Not good: picture 3", exact=True).first.click()
    for _ in range(9):  # a quick machine may be done before the page looks
        make(page, *PRODUCTS[-1])
        seen = ".tile.preview, #jobs article:first-child:not([data-open])"
        page.locator(seen).first.wait_for()
        if page.locator(".tile.preview").count():
            break
    page.evaluate("() => scrollTo(0, 0)")
    take(page, "making")
    ended(page)
    page.evaluate("() => scrollTo(0, 0)")
    take(page, "pictures", height=1000)
    take(page, "pictures-dark", "dark", height=1000)
    page.locator("[data-look]").nth(1).click()
    take(page, "look")
    page.keyboard.press("Escape")
    page.evaluate("() => scrollTo(0, 0)")
    take(page, "phone", "dark", 390, 844)


def main() -> int:
    """Serve a copy of the demo with its promoted recipe and take the pictures."""
    made = ROOT / "demo" / "data"
    if not made.is_dir() or browser.BROWSER is None:
        print("needs `make demo` and Chromium (scripts/browser.sh)", file=sys.stderr)
        return 1
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        shutil.copytree(made, home)
        promote(Bench(home), "demo", "shop")
        templates = Path(folder) / "templates.yaml"
        templates.write_text(TEMPLATES)
        config = ServiceConfig(champion="shop")
        champions = ChampionWatch(config, home)
        engine = service.stepper_factory(config)
        fields: dict[str, Any] = {"champion": "shop", "templates_file": templates}
        with (
            served(home, engine, champions=champions, preview_every_s=0.05, **fields) as running,
            browser.chromium() as chromium,
            browser.strict_page(chromium, running.address, []) as page,
        ):
            tour(page)
        champions.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
