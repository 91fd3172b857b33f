"""What does a wall of 10,000 images cost the browser? First paint, frames while scrolling, memory.

    python benchmarks/studio/browser.py

Makes a study of 10,000 images (make.py), serves it, and opens three walls in headless Chromium at
1280 x 800: all images flat, recipes by steps, steps by prompts. Each is scrolled
240 times by 40 px, a frame each. Prints a Markdown table, the medians of the repeats.
"""

import argparse
import shutil
import tempfile
import threading
from pathlib import Path
from statistics import median

import uvicorn
from make import make
from playwright.sync_api import Browser, sync_playwright

from teststrip.studio.app import create_app
from teststrip.wire.serving import Address, bound
from teststrip.wire.studio import opened

WALLS = {
    "all images, flat": "/wall?study=bench&x=none&y=none",
    "grid, recipes x steps": "/wall?study=bench&x=recipe_id&y=recipe.steps",
    "grid, steps x prompts": "/wall?study=bench&x=recipe.steps&y=prompt&per=4",
}
SCROLL = """async () => {
  const stage = document.getElementById("stage"), frames = [];
  let nodes = 0, last = performance.now();
  for (let i = 0; i < 240; i++) {
    stage.scrollTop += 40;
    if (stage.scrollTop + stage.clientHeight >= stage.scrollHeight - 1) stage.scrollLeft += 40;
    await new Promise((r) => requestAnimationFrame(r));
    const now = performance.now();
    frames.push(now - last); last = now;
    nodes = Math.max(nodes, document.querySelectorAll("*").length);
  }
  frames.sort((a, b) => a - b);
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return [paint ? paint.startTime : NaN, frames[228], frames[239], nodes,
          performance.memory.usedJSHeapSize / 1e6];
}"""


def measure(browser: Browser, address: str) -> list[float]:
    """[first contentful paint ms, p95 frame ms, longest frame ms, most nodes, heap MB]."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.locator("#stage[aria-busy=false]").wait_for()
    page.wait_for_load_state("networkidle")
    found: list[float] = page.evaluate(SCROLL)
    page.close()
    return found


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--repeats", type=int, default=5)
    args = options.parse_args()
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make(home, 200)
        with opened(home) as parts, sync_playwright() as playwright:
            listening = bound(Address("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(create_app(parts), log_level="error"))
            threading.Thread(target=server.run, kwargs={"sockets": [listening]}).start()
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
            root = f"http://127.0.0.1:{listening.getsockname()[1]}"
            print("| wall | first paint ms | p95 frame ms | longest ms | nodes | heap MB |")
            print("|---|---|---|---|---|---|")
            for name, wall in WALLS.items():
                runs = [measure(browser, root + wall) for _ in range(args.repeats)]
                columns = [f"{median(column):,.0f}" for column in zip(*runs, strict=True)]
                print(f"| {name} | {' | '.join(columns)} |")
            browser.close()
            server.should_exit = True


if __name__ == "__main__":
    main()
