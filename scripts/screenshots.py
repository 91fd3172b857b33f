"""The pictures of docs/studio.md: each page of the studio on the demo, taken in Chromium.

make demo train-demo && .venv/bin/python scripts/screenshots.py
"""

import shutil
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from teststrip.studio.app import create_app
from teststrip.testing.browser import ARGUMENTS, BROWSER
from teststrip.wire.serving import Address, bound
from teststrip.wire.studio import opened

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images" / "studio"
PAGES = {
    "studies": "/",
    "study": "/studies/demo",
    "wall": "/wall?study=demo&x=recipe.guidance&y=recipe.scheduler",
    "evidence": "/findings/parameters?study=demo",
    "compare": "/compare?study=demo",
    "rate": "/rate?study=demo",
    "live": "/live",
    "playground": "/playground",
    "runs": "/runs/monster",
}


def take(page: Page, name: str, path: str, width: int, scheme: str) -> None:
    """One page; compare shows its first pair, rate asks for a name first."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800 if width > 600 else 844})
    page.goto(path)
    page.wait_for_load_state("networkidle")
    if name == "compare":
        page.locator("main a[href*='i=']").first.click()
        page.wait_for_load_state("networkidle")
    if name == "rate" and page.get_by_label("Name").count():
        page.get_by_label("Name").fill("ada")
        page.keyboard.press("Enter")
        page.wait_for_load_state("networkidle")
    page.wait_for_function("[...document.images].every((i) => i.complete || i.loading === 'lazy')")
    suffix = "" if width > 600 else "-phone"
    page.screenshot(path=str(OUT / f"{name}{suffix}.png"))
    print(OUT.relative_to(ROOT) / f"{name}{suffix}.png")


def main() -> int:
    """Serve a copy of the demo and take the pictures."""
    made, trained = ROOT / "demo" / "data", ROOT / "demo" / "train" / "data"
    if not (made.is_dir() and trained.is_dir() and BROWSER):
        text = "needs `make demo`, `make train-demo` and Chromium (scripts/browser.sh)"
        print(text, file=sys.stderr)
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        shutil.copytree(made, home)
        shutil.copytree(trained / "runs", home / "runs")
        with opened(home) as parts, sync_playwright() as playwright:
            listening = bound(Address("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(create_app(parts), log_level="error"))
            threading.Thread(target=server.run, kwargs={"sockets": [listening]}).start()
            browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
            page = browser.new_page(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}")
            for name, path in PAGES.items():
                take(page, name, path, 1280, "light")
            for name in ("wall", "evidence", "rate"):
                take(page, name, PAGES[name], 390, "dark")
            browser.close()
            server.should_exit = True
    return 0


if __name__ == "__main__":
    sys.exit(main())
