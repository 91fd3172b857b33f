"""How fast is the studio's index, and what do its pages cost the server at 100,000 images?

    python benchmarks/studio/index.py [PLACE]

Makes the study of make.py at PLACE (else in a temporary folder), builds the index in a process of
its own (rows per second, peak memory), starts `teststrip studio serve` on it, and asks the real
HTTP server for pages and walls one after another. Every asked view is another one, so no answer
comes from a cache. Seconds are the client's, network and JSON included. Prints a Markdown table.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlencode, urlsplit

from make import NAME, SCORES, THINGS, make

ASKED = 80
BUILD = """
import resource, sys, time
from pathlib import Path
from teststrip.studio.index import Index
home = Path(sys.argv[1])
index = Index(home / "studio" / "index.duckdb")
began, busy = time.perf_counter(), time.process_time()
index.rebuild(home)
seconds, busy = time.perf_counter() - began, time.process_time() - busy
images = index.entry("bench").images
index.close()
print(images, seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
AXES = ["recipe.scheduler", "recipe.steps", "recipe.guidance", "recipe.rescale"]
SCHEDULERS = ["ddim", "euler", "euler_a", "dpmpp_2m", "unipc"]
Made = dict[str, str]


def view(rng: random.Random, **more: str) -> Made:
    """Two axes, and what else it is about."""
    x, y = rng.sample(AXES, 2)
    return {"study": NAME, "x": x, "y": y, "score": "synthetic@1"} | more


def regrouped(rng: random.Random) -> tuple[str, Made]:
    """Other axes, nested ones among them, by any score."""
    names = rng.sample(AXES, rng.choice([2, 3, 4]))
    if len(names) == 2 and rng.random() < 0.5:
        names[1] = "prompt_id"
    axes = dict(zip(("x", "y", "x2", "y2"), names, strict=False))
    low = f"{rng.uniform(-4, -3):.5f}"  # another view each time, of nearly all images
    return "/wall/cells.json", {
        "study": NAME,
        "score": rng.choice([*SCORES, "lead"]),
        "show": rng.choice(["images", "mean"]),
        "f.synthetic@1.min": low,
    } | axes


def filtered(rng: random.Random) -> tuple[str, Made]:
    """A range of a score with a set, a text in the prompt or a tag."""
    kinds: list[Made] = [
        {"f.recipe.scheduler": ",".join(rng.sample(SCHEDULERS, 2))},
        {"q": rng.choice(THINGS)},
        {"f.tag": rng.choice(["animal", "food", "place"])},
        {"f.recipe.steps.min": str(rng.randint(4, 30))},
        {"f.seconds.max": f"{rng.uniform(1, 3):.5f}"},
    ]
    low = f"{rng.uniform(-2, 2):.5f}"
    return "/wall/cells.json", view(rng, **{"f.clip_small@1.min": low}, **rng.choice(kinds))


def sorted_cells(rng: random.Random) -> tuple[str, Made]:
    """Cells by a score, a lower bound, disagreement or seconds."""
    by = rng.choice(["synthetic@1", "lower", "disagreement", "seconds", "lead"])
    low = f"{rng.uniform(-4, -3):.5f}"
    more = {"sort": rng.choice(["", "-"]) + by, "f.synthetic@1.min": low}
    return "/wall/cells.json", view(rng, **more)


def sorted_images(rng: random.Random) -> tuple[str, Made]:
    """A page of 200 of all images, by a score, from anywhere."""
    by = rng.choice(["synthetic@1", "aesthetic@1", "disagreement", "seconds", "lead"])
    asked = {"study": NAME, "x": "none", "y": "none", "sort": rng.choice(["", "-"]) + by}
    low = f"{rng.uniform(-4, -3):.5f}"
    place = {"first": str(200 * rng.randint(0, 400)), "count": "200", "f.synthetic@1.min": low}
    return "/wall/images.json", asked | place


KINDS: dict[str, Callable[[random.Random], tuple[str, Made]]] = {
    "regroup (2 to 4 axes)": regrouped,
    "filter": filtered,
    "sort cells": sorted_cells,
    "sort images, 200 of a page": sorted_images,
}


class Browser:
    """One kept connection, as a browser's."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port or 80)

    def get(self, path: str) -> tuple[float, bytes]:
        """Seconds to the last byte, and the answer. Raises RuntimeError for any status but 200."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept": "text/html,application/json"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
        return time.perf_counter() - began, body


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, int, float]]:
    """The server's address, process id and seconds from start to listening."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "teststrip", "studio", "serve", "--port", "0"],
        env=os.environ | {"TESTSTRIP_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the server said no address"
        yield found[0], process.pid, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def peak_mb(pid: int) -> float:
    """The most memory that a process had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def processor_s(pid: int) -> float:
    """Processor time of all its threads: what a busy machine does not stretch."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(home: Path, recipes: int) -> list[tuple[str, str]]:
    """Rows of the table."""
    rows = []
    if not (home / "studies" / NAME).exists():
        began = time.perf_counter()
        make(home, recipes)
        rows.append(("study made", f"{time.perf_counter() - began:.1f} s"))
    said = subprocess.run(
        [sys.executable, "-c", BUILD, str(home)], capture_output=True, text=True, check=True
    ).stdout.split()
    images, (seconds, busy, peak) = int(said[0]), map(float, said[1:])
    rows.append(("images", f"{images:,}"))
    rows.append(
        (
            "index built",
            f"{seconds:.2f} s, {images / seconds:,.0f} rows/s; {busy:.2f} s of processor time",
        )
    )
    rows.append(("index process, peak memory", f"{peak:.0f} MB"))
    rows.append(("machine's load before", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"))
    with serving(home) as (address, pid, start):
        rows.append(("server started (index kept in its file)", f"{start:.2f} s"))
        browser = Browser(address)
        first, _ = browser.get(f"/wall?study={NAME}")
        _, body = browser.get(f"/wall/cells.json?{urlencode(view(random.Random(0)))}")
        rows.append(("first wall page of a fresh server", f"{first * 1000:.0f} ms"))
        again = [browser.get(f"/wall?study={NAME}")[0] for _ in range(20)]
        rows.append(("wall page, median", f"{sorted(again)[10] * 1000:.0f} ms"))
        home_page = [browser.get("/")[0] for _ in range(20)]
        rows.append(("home page, median", f"{sorted(home_page)[10] * 1000:.0f} ms"))
        for kind, of in KINDS.items():
            rng = random.Random(kind)
            taken, sizes = [], []
            before = processor_s(pid)
            for _ in range(ASKED):
                path, query = of(rng)
                took, body = browser.get(f"{path}?{urlencode(query)}")
                taken.append(took * 1000)
                sizes.append(len(body) / 1024)
            each = 1000 * (processor_s(pid) - before) / ASKED
            cuts = quantiles(taken, n=20)
            text = f"p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms, {max(sizes):.0f} KB at most"
            rows.append((kind, f"{text}; {each:.0f} ms of processor time each"))
        keys = re.findall(rb'"([0-9a-f]{24})"', body)[:100]
        thumbs = [browser.get(f"/thumbs/192/{NAME}/{key.decode()}.webp")[0] for key in keys]
        if thumbs:
            cuts = quantiles([1000 * taken for taken in thumbs], n=20)
            rows.append(("thumbnail", f"p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms"))
        rows.append(("server, peak memory", f"{peak_mb(pid):.0f} MB"))
    return rows


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path, nargs="?")
    parser.add_argument("--recipes", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="teststrip-") as temporary:
        rows = measure(given.place or Path(temporary) / "home", given.recipes)
    if given.json:
        print(json.dumps(dict(rows)))
        return
    print("| what | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
