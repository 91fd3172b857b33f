"""A home with real little studies, the app on it, and a browser that forgives nothing.

Studies of `home` (made once, copied for each test file, so that a file may write into it):

colours   12 recipes (scheduler, steps, guidance) on 8 blocks, two scorers, tags, confirmed;
          one prompt and one tag are hostile markup
small     7 recipes, one scorer, no held-out prompts
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from teststrip.study import Study
from teststrip.testing import browser
from teststrip.wire.studio import opened

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> é '"
)
PROMPTS: list[Any] = [
    {"text": "a red apple on a table", "tags": ["food", "still"]},
    {"text": "a fox in the snow", "tags": ["animal"]},
    {"text": HOSTILE, "tags": ["<b>bold</b>"]},
    {"text": "a lighthouse at night", "tags": ["place"]},
    {"text": "a bowl of soup", "tags": ["food"]},
    {"text": "an owl on a branch", "tags": ["animal"]},
]
COLOURS: dict[str, Any] = {
    "name": "colours",
    "generator": {
        "name": "synthetic",
        "options": {"effects": {"steps": {"10": -0.6, "20": 0.2, "30": 0.9}}},
    },
    "scorers": ["synthetic", "technical"],
    "objectives": ["synthetic"],
    "prompts": {"items": PROMPTS, "held_out": 0.34},
    "seeds": 2,
    "space": {
        "scheduler": ["ddim", "euler"],
        "steps": [10, 20, 30],
        "guidance": {"choice": [4.5, 7.5]},
    },
    "baseline": {"scheduler": "ddim", "steps": 20, "guidance": 7.5},
    "design": {"kind": "grid"},
    "race": {"kind": "none"},
}
SMALL: dict[str, Any] = {
    "name": "small",
    "generator": "synthetic",
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"prompt {i}" for i in range(6)]},
    "seeds": 1,
    "space": {"scheduler": ["ddim", "euler"], "steps": {"int": [10, 30], "step": 10}},
    "race": {"start": 2, "top": 6, "ask": 4},
}


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies, made once; never written to by a test."""
    home = tmp_path_factory.mktemp("studio")
    Study(COLOURS, home=home).run()
    Study.open("colours", home=home).confirm(top=2)
    Study(SMALL, home=home).run()
    return home


@pytest.fixture(scope="module")
def home(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the studies for this test file."""
    place = tmp_path_factory.mktemp("home") / "data"
    shutil.copytree(made_home, place)
    return place


@pytest.fixture(scope="module")
def parts(home: Path) -> Iterator[Any]:
    """What the app is made of: an index that follows, real pictures, real evidence."""
    with opened(home, every_s=0.2) as made:
        yield made


@pytest.fixture(scope="module")
def app(parts: Any) -> Any:
    """The studio."""
    from teststrip.studio.app import create_app

    return create_app(parts)


@pytest.fixture(scope="module")
def client(app: Any) -> Iterator[Any]:
    """Asks the app without a network; holds the token that forms need."""
    from starlette.testclient import TestClient

    made = TestClient(app, base_url="http://127.0.0.1")
    made.get("/healthz")
    made.headers["X-CSRF-Token"] = made.cookies["teststrip_csrf"]
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(app: Any) -> Iterator[str]:
    """The app on a real socket; its address without a slash at the end."""
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")  # while it is open no coroutine can run in this thread
def chromium() -> Iterator[Any]:
    """One browser for the tests of a module."""
    if browser.BROWSER is None:
        pytest.skip("no chromium here")
    with browser.chromium() as made:
        yield made


@pytest.fixture
def forgiven() -> list[str]:
    """Patterns of console errors that a test asks for: `forgiven.append("404")`."""
    return []


@pytest.fixture
def browser_page(chromium: Any, server: str, forgiven: list[str]) -> Iterator[Any]:
    """A page whose `goto("/wall")` is the server's; fails on errors and on foreign requests."""
    with browser.strict_page(chromium, server, forgiven) as page:
        yield page


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An app on a free port, in a thread, until the block ends."""
    import uvicorn

    from teststrip.wire.serving import Address, bound

    listening = bound(Address("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, log_level="warning", access_log=False)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(10)
        listening.close()
