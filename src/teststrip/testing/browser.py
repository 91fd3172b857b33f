"""Chromium for tests of pages: one that forgives no error and no request to another machine."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser of this machine (`BROWSER` is None where there is none)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def strict_page(
    browser: Any, server: str, forgiven: Sequence[str], **context: Any
) -> Iterator[Any]:
    """A page whose `goto("/")` is the server's.

    At its end AssertionError tells errors of the console and of scripts, and foreign requests;
    patterns in `forgiven` are passed over. `context`: options of playwright's new_context.
    """
    options = {"base_url": server, "viewport": {"width": 1280, "height": 800}} | context
    made = browser.new_context(**options)
    made.set_default_timeout(10_000)
    made.grant_permissions(["clipboard-read", "clipboard-write"], origin=server)
    page = made.new_page()
    faults: list[str] = []
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("request", lambda asked: faults.extend(_foreign(asked.url, server)))
    yield page
    made.close()
    left = [text for text in faults if not any(re.search(why, text) for why in forgiven)]
    if left:
        raise AssertionError(left)


def serious_faults(page: Any) -> list[Any]:
    """What axe calls serious or critical on this page: its name and where."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def _foreign(url: str, server: str) -> list[str]:
    place = urlsplit(url)
    own = place.scheme in ("data", "blob", "about") or place.netloc == urlsplit(server).netloc
    return [] if own else [f"asked another machine: {url}"]
