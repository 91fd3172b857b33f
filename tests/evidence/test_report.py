"""The report, the contact sheet and the summary; the page in a real browser."""

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teststrip import a1111, png
from teststrip.errors import ConfigError, StorageError
from teststrip.evidence import report, sheet
from teststrip.evidence.answer import answer
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.numbers import Numbers
from teststrip.evidence.ranking import rank
from teststrip.evidence.summary import recipe_metrics, summarise
from teststrip.evidence.table import checked

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def known(shown):
    table, pictures, baseline = shown
    facts = StudyFacts(
        name="a <i>study</i>",
        objective="clip@1",
        baseline=baseline,
        varied=("scheduler", "steps", "guidance"),
        threshold=0.25,
        seconds=151.0,
        peak_rss_mb=1900.0,
        command="teststrip study run study.yaml",
    )
    return table, facts, pictures.__getitem__


@pytest.fixture(scope="module")
def page(known):
    return report.render(*known)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.addresses, self.without_alt = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.seen.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]
        self.without_alt += tag == "img" and not found.get("alt")
        assert "style" not in found, "the policy allows no style attribute"


def test_the_page_holds_everything_and_loads_nothing(page):
    tags = Tags(page)

    assert "script" not in tags.seen
    assert all(address.startswith("data:") for address in tags.addresses)
    assert tags.without_alt == 0
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import", page)


def test_what_a_user_typed_is_escaped(page):
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "a &lt;i&gt;study&lt;/i&gt;" in page


def test_the_numbers_on_the_page_are_those_of_the_ranking(page, known):
    table, facts, _ = known
    ranking = rank(table, facts)
    best = ranking.row(ranking.best)

    for row in ranking.rows:
        assert ranking.numbers.signed(row.gain.mean) in page
    assert ranking.numbers.span(best.gain, signed=True) in page
    assert answer(ranking, facts).headline in page
    assert f">{len(table)}</dd>" in page


def test_the_best_recipe_can_be_made_again_from_the_page(page, known):
    table, facts, _ = known
    best = rank(table, facts).best
    text = re.search(r'<pre id="a1111">(.*?)</pre>', page, re.S).group(1)
    code = re.search(r'<pre id="diffusers">(.*?)</pre>', page, re.S).group(1)
    unescape = __import__("html").unescape

    assert a1111.from_text(unescape(text)).request.recipe.recipe_id == best
    compile(unescape(code), "diffusers", "exec")


def test_missing_pictures_and_failures_are_said(known):
    table, facts, _ = known
    table = table.copy()
    failed = table.index[(table["block"] == 1) & (table["recipe_id"] == facts.baseline)]
    table.loc[failed, ["status", "reason", "clip@1"]] = ["failed", "out of <memory>", np.nan]

    def nothing(path):
        raise StorageError(f"{path}: gone")

    page = report.render(table, facts, nothing)

    assert "picture missing" in page
    assert "failed: out of &lt;memory&gt;" in page
    assert "1 image failed" in page


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (3, 8)])
@pytest.mark.parametrize("baseline", ["r000", None])
def test_the_smallest_studies_have_a_report(worlds, facts, shape, baseline):
    values = np.random.default_rng(0).normal(size=shape)
    table = checked(worlds.frame(values, np.arange(shape[1])))

    page = report.render(table, facts(baseline=baseline), lambda path: b"")

    assert answer(rank(table, facts(baseline=baseline)), facts()).headline in page
    assert "nan" not in re.sub(r"data:[^\"]+", "", page).lower().replace("pnan", "")


def test_equal_scores_have_a_report(worlds, facts):
    table = checked(worlds.frame(np.full((4, 8), 0.5), np.arange(8)))

    assert "Nothing beat the baseline" in report.render(table, facts(), lambda path: b"")


def test_the_answer_never_claims_more_than_the_verdict(study, facts):
    for seed in range(12):
        table, _ = study(seed=seed, recipes=8)
        ranking = rank(table, facts())
        said = answer(ranking, facts())
        is_better = ranking.row(ranking.best).verdict == "better"

        assert said.headline.endswith("is better than the baseline.") == is_better
        if ranking.best != ranking.baseline:
            assert "chosen on these same images" in said.caveat
            assert "confirmed" in said.caveat


def test_the_summary_is_json_and_agrees_with_the_ranking(known):
    table, facts, _ = known

    found = json.loads(json.dumps(summarise(table, facts), allow_nan=False))

    ranking = rank(table, facts)
    assert found["images_made"] == len(table)
    assert found["images_full_grid"] == 13 * 32
    assert found["recipes"] == 13
    assert found["best"]["recipe_id"] == ranking.best
    assert found["best"]["n_images"] == 32
    assert found["best"]["n_prompts"] == 8
    low, high = found["difference"]["interval"]
    assert low <= found["difference"]["mean"] <= high
    assert found["peak_rss_mb"] == 1900.0


def test_every_recipe_has_numbers_for_the_tracker(known):
    table, facts, _ = known
    ranking = rank(table, facts)

    found = recipe_metrics(ranking, facts)

    assert set(found) == {row.recipe_id for row in ranking.rows}
    best = found[ranking.best]
    assert best["place"] == 1
    assert best["clip@1.gain.low"] <= best["clip@1.gain"] <= best["clip@1.gain.high"]
    assert all(np.isfinite(list(numbers.values())).all() for numbers in found.values())


def test_a_contact_sheet_shows_best_median_worst_and_baseline_on_the_same_blocks(known):
    table, facts, read_png = known
    ranking = rank(table, facts)

    columns, rows = sheet.plan(table, facts, ranking, read_png)

    assert [row.role for row in rows] == ["Best", "Median", "Worst", "Baseline"]
    for row, name in zip(
        rows, (ranking.best, ranking.median, ranking.worst, ranking.baseline), strict=True
    ):
        own = table[table["recipe_id"] == name].set_index(["prompt", "seed"])
        for cell, column in zip(row.cells, columns, strict=True):
            asked = png.read(cell.png).request
            assert (asked.block.prompt, asked.block.seed) == (column.prompt, column.seed)
            assert asked.recipe.recipe_id == name
            assert cell.score == own.loc[(column.prompt, column.seed), "clip@1"]


def test_a_contact_sheet_is_a_picture_with_the_pixels_in_their_places(known):
    table, facts, read_png = known
    ranking = rank(table, facts)
    columns, rows = sheet.plan(table, facts, ranking, read_png)

    data = sheet.contact_sheet(columns, rows, title="t", subtitle="s", numbers=ranking.numbers)

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    assert picture.width <= sheet.WIDTH
    colours = {colour for _, colour in picture.getcolors(maxcolors=2**24)}
    for row in rows:
        for cell in row.cells:
            assert tuple(int(c) for c in png.pixels(cell.png)[0, 0]) in colours


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one recipe"):
        sheet.contact_sheet((), (), title="", subtitle="", numbers=Numbers(3))


def test_wide_and_broken_pictures():
    row = sheet.Row("Best", ("a",), ("n",), (sheet.Cell(b"no png", 0.1),))

    with pytest.raises(ConfigError, match="not a PNG"):
        sheet.contact_sheet(
            (sheet.Column("p", 0),), (row,), title="", subtitle="", numbers=Numbers(3)
        )


def test_pictures_outside_of_the_study_are_refused(tmp_path):
    inside, outside = tmp_path / "study", tmp_path / "secret.png"
    (inside / "images").mkdir(parents=True)
    (inside / "images" / "a.png").write_bytes(b"a")
    outside.write_bytes(b"secret")
    (inside / "images" / "link.png").symlink_to(outside)
    read = report.file_reader(inside)

    assert read("images/a.png") == b"a"
    for name in ("../secret.png", str(outside), "images/link.png"):
        with pytest.raises(StorageError, match="outside"):
            read(name)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no chromium here")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(browser, page, tmp_path, known, width, scheme):
    path = Path(tmp_path) / "report.html"
    path.write_text(page, encoding="utf-8")
    table, facts, _ = known
    ranking = rank(table, facts)
    said, asked = [], []
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, java_script_enabled=True
    )
    view = context.new_page()
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))

    view.goto(path.as_uri())

    assert view.locator("h1").inner_text() == answer(ranking, facts).headline
    assert view.locator("h1").bounding_box()["y"] < 400
    assert view.locator("#ranking tbody tr").count() == report.FIRST_ROWS
    assert view.locator("#ranking-rest tbody tr").count() == 13 - report.FIRST_ROWS
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 128) == (scheme == "dark")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    context.close()
