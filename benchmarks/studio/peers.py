"""How long until the images of one condition are seen? The studio, MLflow's page, Aim's explorer.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install mlflow aim
    python benchmarks/studio/peers.py --peers /tmp/peers/bin/python

The same 2,000 images (40 recipes x 25 prompts x 2 seeds, 256 px, make.py) are a study for the
studio, 40 runs for MLflow (`log_image`, a key for each prompt) and 40 runs for Aim (a context for
each prompt). Asked is "all images of one number of steps": an address of each tool, opened in a
fresh page of headless Chromium that reaches this machine alone. Seconds until the first image and
until all on the screen are there; how many images the page holds then without a further click;
and how the condition was given. Prints a Markdown table, medians of the repeats.
"""

import argparse
import os
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
import peers_aim
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


ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # nobody waits for the net
HEAD = """| page | first image s | all on the screen s | images in the page | the condition is |
|---|---|---|---|---|"""


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--peers", required=True, help="a Python that has mlflow and aim")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument(
        "--place", type=Path, help="keep what is made and filled here, use it again"
    )
    options.add_argument("--only", choices=["teststrip", "mlflow", "aim"], nargs="*")
    args = options.parse_args()
    wanted = args.only or ["teststrip", "mlflow", "aim"]
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = args.place or Path(folder)
        home = root / "home"
        place = home / "studies" / NAME
        if not (place / "images.parquet").exists():
            make(home, 40)
        steps = int(pd.read_parquet(place / "images.parquet")["recipe.steps"].min())
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", ALONE]
        )
        rows = []
        for name in wanted:
            store = root / name
            store.mkdir(exist_ok=True)
            rows.append(MEASURES[name](browser, args, home, place, store, steps))
        browser.close()
    print("\n".join([HEAD, *rows]))


def teststrip(
    browser: Browser, args: argparse.Namespace, home: Path, place: Path, store: Path, steps: int
) -> str:
    """The studio's row."""
    with opened(home) as parts:
        listening = bound(Address("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(parts), log_level="error"))
        running = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        running.start()
        wall = f"/wall?study={NAME}&x=none&y=none&f.recipe.steps={steps}"
        address = f"http://127.0.0.1:{listening.getsockname()[1]}{wall}"
        row = told(browser, "Teststrip, wall", address, "/thumbs/", args.repeats)
        server.should_exit = True
        running.join(30)
    return row + " a filter of the page, in plain words in its address |"


def mlflow(
    browser: Browser, args: argparse.Namespace, home: Path, place: Path, store: Path, steps: int
) -> str:
    """MLflow's row."""
    fill("MLflow", [args.peers, "-c", FILL, str(store), str(place)], store)
    with mlflow_page(args.peers, store) as root:
        chart = f"searchFilter=params.steps%20%3D%20%22{steps}%22&compareRunsMode=CHART"
        address = f"{root}/#/experiments/1/runs?{chart}"
        row = told(browser, "MLflow, image grid", address, "get-artifact", args.repeats)
    return row + " a search over runs, in the address; its page shows 10 runs |"


def aim(
    browser: Browser, args: argparse.Namespace, home: Path, place: Path, store: Path, steps: int
) -> str:
    """Aim's row."""
    fill("Aim", [args.peers, "-c", peers_aim.FILL, str(store), str(place)], store)
    with peers_aim.served(args.peers, store) as root:
        address = root + peers_aim.page_of(steps)
        row = told(browser, "Aim, images explorer", address, peers_aim.SHOWN, args.repeats)
    return row + " a query in Aim's Python-like language, base64 in the address |"


MEASURES = {"teststrip": teststrip, "mlflow": mlflow, "aim": aim}


def fill(name: str, command: list[str], store: Path) -> None:
    """Once for each store; says how long it took."""
    done = store / "filled.txt"
    if not done.exists():
        began = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | peers_aim.QUIET)
        done.write_text(f"{time.perf_counter() - began:.0f} s\n")
    print(f"{name} filled in {done.read_text().strip()}", flush=True)


def told(browser: Browser, name: str, address: str, part: str, repeats: int) -> str:
    """Most of a row; the first opening warms the server and is not counted."""
    runs = [seen(browser, address, part) for _ in range(repeats + 1)][1:]
    first, last, count = (median(column) for column in zip(*runs, strict=True))
    return f"| {name} | {first:.2f} | {last:.2f} | {count:.0f} |"


if __name__ == "__main__":
    main()
