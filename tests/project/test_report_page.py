"""The report in a real browser: nothing loaded, nothing refused, readable by all, on any screen."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.project.reported import PARAMS, PROMPTS, begin, write_record, write_results
from teststrip.project.report.content import alone, change
from teststrip.project.report.files import write
from teststrip.project.report.results import read
from teststrip.project.revision import at, here
from teststrip.testing.browser import BROWSER, chromium, serious_faults, strict_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
LONG = "an alien_with_a_name_that_no_line_could_ever_hold_" * 3


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report of a change with every section, and one of a revision alone: their address."""
    root = tmp_path_factory.mktemp("page") / "project"
    prompts = (*PROMPTS, f"<b>{LONG}</b>")
    write_results(root, prompts=prompts, curves=True)
    begin(root)
    train = PARAMS["train"] | {"learning_rate": 0.002, "instance_prompt": f"<i>{LONG}</i>"}
    params = PARAMS | {"train": train}
    write_results(
        root, curves=True, prompts=prompts, params=params, shift=0.03, seed=2, refused=True
    )
    write_record(root, "infer", params, device={"name": "cuda:0", "card": "A GPU"})
    (root / "images/made/p1-20000.png").unlink()
    before, after = read(at(root, "HEAD")), read(here(root))
    write(change(before, after, "auto", 0.95), root / "change")
    write(alone(after, "auto", 0.95), root / "alone")
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.mark.parametrize("name", ["change", "alone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_faults(pages, browser, name, scheme):
    with strict_page(browser, pages, [], color_scheme=scheme) as page:
        page.goto(f"/{name}/index.html")

        assert serious_faults(page) == []
        loaded = "Array.from(document.images).every(i => i.complete && i.naturalWidth > 0)"
        assert page.evaluate(loaded)
        assert page.locator("img").count() >= 20


@pytest.mark.parametrize("name", ["change", "alone"])
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_sticks_out_of_the_screen(pages, browser, name, width):
    with strict_page(browser, pages, [], viewport={"width": width, "height": 800}) as page:
        page.goto(f"/{name}/index.html")

        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_verdict_comes_first_and_each_section_is_named(pages, browser):
    with strict_page(browser, pages, []) as page:
        page.goto("/change/index.html")

        assert page.locator("h1").inner_text().startswith("Better: the change gains +0.0")
        assert page.title() == page.locator("h1").inner_text()
        assert page.locator("h2").all_inner_texts() == [
            "Scores",
            "Parameters that changed",
            "The same prompts and seeds, side by side",
            "Training curves",
            "Numbers",
            "What ran again",
        ]
        assert "unproven" in page.locator(".notes").first.inner_text()
        assert page.locator(".hole").inner_text() == "picture missing"
        assert page.locator("figure svg[role=img]").count() == 3
