"""How long until the images of one condition are seen? The studio against MLflow's own web page.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install mlflow
    python benchmarks/studio/peers.py --peers /tmp/peers/bin/python

The same 2,000 images (40 recipes x 25 prompts x 2 seeds, 256 px, make.py) are a study for the
studio and 40 runs for MLflow (`log_image`, a key for each prompt). Asked is "all images of one
number of steps": an address of each tool, opened in a fresh page of headless Chromium. Seconds
until the first image and until all on the screen are there; how many images the page holds then
without a further click. Prints a Markdown table, medians of the repeats.
"""

import argparse
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import pandas as pd
import uvicorn
from make import NAME, make
from playwright.sync_api import Browser, sync_playwright

from teststrip.studio.app import create_app
from teststrip.wire.serving import Address, bound
from teststrip.wire.studio import opened

FILL = """
import sys
import mlflow, pandas as pd
from PIL import Image
store, place = sys.argv[1:]
mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
mlflow.create_experiment("bench", artifact_location=f"file://{store}/artifacts")
mlflow.set_experiment("bench")
for recipe, rows in pd.read_parquet(f"{place}/images.parquet").groupby("recipe_id"):
    with mlflow.start_run(run_name=recipe):
        first = rows.iloc[0]
        mlflow.log_params({"steps": first["recipe.steps"], "guidance": first["recipe.guidance"]})
        for row in rows.itertuples():
            with Image.open(f"{place}/{row.png}") as picture:
                mlflow.log_image(picture.convert("RGB"), key=row.prompt_id, step=int(row.seed))
"""
SEEN = """(part) => {
  const on = [...document.images].filter((i) => i.src.includes(part) && i.naturalWidth > 0);
  const box = (i) => i.getBoundingClientRect();
  const open = [...document.images].filter((i) => i.src.includes(part) && !i.complete
    && box(i).top < innerHeight && box(i).bottom > 0);
  return [on.length, open.length];
}"""


def seen(browser: Browser, address: str, part: str) -> tuple[float, float, int]:
    """(seconds to the first image, to the last one on the screen, images in the page)."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    began, first, last, most = time.perf_counter(), None, 0.0, -1
    page.goto(address, wait_until="commit")
    while time.perf_counter() - began < 60:
        loaded, waiting = page.evaluate(SEEN, part)
        now = time.perf_counter() - began
        if loaded and first is None:
            first = now
        if loaded > most:
            most, last = loaded, now
        if loaded and not waiting and now - last > 2:
            break
        page.wait_for_timeout(20)
    page.close()
    return first or float("nan"), last, most


@contextmanager
def mlflow_page(python: str, store: Path) -> Iterator[str]:
    """MLflow's own server on the filled store; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{store}/mlflow.db"]
    served = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urlopen(address, timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        subprocess.run(["pkill", "-g", str(served.pid)], check=False)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--peers", required=True, help="a Python that has mlflow")
    options.add_argument("--repeats", type=int, default=5)
    args = options.parse_args()
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home, store = Path(folder) / "home", Path(folder) / "mlflow"
        store.mkdir()
        place = make(home, 40)
        steps = pd.read_parquet(place / "images.parquet")["recipe.steps"].min()
        began = time.perf_counter()
        subprocess.run([args.peers, "-c", FILL, str(store), str(place)], check=True)
        print(f"MLflow filled in {time.perf_counter() - began:.0f} s\n")
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        print(
            "| page | first image s | all on the screen s | images in the page |\n|---|---|---|---|"
        )
        with opened(home) as parts:
            listening = bound(Address("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(create_app(parts), log_level="error"))
            threading.Thread(target=server.run, kwargs={"sockets": [listening]}).start()
            wall = f"/wall?study={NAME}&x=none&y=none&f.recipe.steps={steps}"
            root = f"http://127.0.0.1:{listening.getsockname()[1]}"
            tell(browser, "Teststrip, wall", root + wall, "/thumbs/", args.repeats)
            server.should_exit = True
        with mlflow_page(args.peers, store) as root:
            chart = f"searchFilter=params.steps%20%3D%20%22{steps}%22&compareRunsMode=CHART"
            address = f"{root}/#/experiments/1/runs?{chart}"
            tell(browser, "MLflow, image grid", address, "get-artifact", args.repeats)
        browser.close()


def tell(browser: Browser, name: str, address: str, part: str, repeats: int) -> None:
    """A row of the table; the first opening warms the server and is not counted."""
    runs = [seen(browser, address, part) for _ in range(repeats + 1)][1:]
    first, last, count = (median(column) for column in zip(*runs, strict=True))
    print(f"| {name} | {first:.2f} | {last:.2f} | {count:.0f} |", flush=True)


if __name__ == "__main__":
    main()
