"""Aim beside the studio: its store filled with the same images, its explorer at one condition.

The explorer's address holds its state: `select` is `O-` and base64 of the URI-encoded JSON, with
`+`, `/` as `-`, `_` and without `=` (encode() of aim_ui 3.29). Context and step are Aim's own way
to say prompt and seed; a setting of the recipe is a parameter of the run.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

FILL = """
import sys
import pandas as pd
from aim import Image, Repo, Run
store, place = sys.argv[1:]
repo = Repo.from_path(store, init=True)
quiet = {"system_tracking_interval": None, "capture_terminal_logs": False}
for recipe, rows in pd.read_parquet(f"{place}/images.parquet").groupby("recipe_id"):
    run = Run(repo=repo, experiment="bench", log_system_params=False, **quiet)
    run.name, first = recipe, rows.iloc[0]
    run["steps"], run["guidance"] = int(first["recipe.steps"]), float(first["recipe.guidance"])
    for row in rows.itertuples():
        picture = Image(f"{place}/{row.png}")
        run.track(picture, name="image", step=int(row.seed), context={"prompt": row.prompt_id})
    run.close()
"""
QUIET = {"__AIM_TELEMETRY_ENABLED__": "0"}
SHOWN = "data:image"  # its pictures come as text in one stream


def page_of(steps: int) -> str:
    """The images explorer with all images of one number of steps."""
    query = f"images.name == 'image' and run.steps == {steps}"
    select = {"options": [], "query": "", "advancedMode": True, "advancedQuery": query}
    return f"/images?select={encoded(select)}"


def encoded(state: object) -> str:
    """As the explorer writes its state into its address."""
    text = quote(json.dumps(state, separators=(",", ":")), safe=";,/?:@&=+$-_.!~*'()#")
    return "O-" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@contextmanager
def served(python: str, store: Path) -> Iterator[str]:
    """`aim up` on the filled store; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    beside = Path(python).parent  # aim starts its server by name
    up = ["up", "--repo", str(store), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [str(beside / "aim"), *up],
        env=os.environ | QUIET | {"PATH": f"{beside}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urlopen(address, timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        else:
            raise RuntimeError("aim up did not answer within two minutes")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
