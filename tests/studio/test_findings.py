"""Evidence pages: every section says what the evidence says, and its numbers lead to images."""

import html
import json
import re
import shutil
import threading
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from teststrip.evidence.advice import spread_of
from teststrip.evidence.compare import compare
from teststrip.evidence.power import detectable
from teststrip.studio.findings.links import joined, text_of
from teststrip.studio.findings.recipes import VERDICTS, columns_of, listing
from teststrip.studio.findings.section import SECTIONS
from teststrip.study import Study

KEYS = [key for key, _ in SECTIONS]
HALTED = {
    "name": "halted",
    "generator": "synthetic",
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"prompt {i}" for i in range(4)]},
    "seeds": 1,
    "space": {"steps": [10, 20, 30]},
    "design": {"kind": "grid"},
    "race": {"kind": "none"},
}


@pytest.fixture(scope="module")
def home(made_home, tmp_path_factory):
    """The studies, one that was interrupted, one of images that were brought in."""
    place = tmp_path_factory.mktemp("findings") / "data"
    shutil.copytree(made_home, place)
    seen = []

    def stop(event):
        seen.append(event)
        if (place / "studies/halted/images.parquet").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(HALTED, home=place).run(stop)
    folder = shutil.copytree(place / "studies/small", place / "studies/photos")
    record = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(record | {"paired": False}))
    return place


@pytest.fixture(scope="module")
def page(client):
    """Asks for a section until its analysis is there; the page's text."""

    def ask(key="answer", study="colours", status=200, **query):
        path = "/findings" if key == "answer" else f"/findings/{key}"
        headers = {"Accept": "text/html", "HX-Target": "evidence"}
        answer = client.get(path, params={"study": study, **query}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.text

    return ask


def links_in(text, path):
    """Addresses of links to `path`, as a browser would follow them."""
    found = re.findall(r'href="([^"]+)"', text)
    return [one for one in map(html.unescape, found) if urlsplit(one).path == path]


def query_of(address):
    return dict(parse_qsl(urlsplit(address).query))


@pytest.mark.parametrize("study", ["colours", "small"])
@pytest.mark.parametrize("key", KEYS)
def test_every_section_has_an_address_and_no_number_that_is_none(page, key, study):
    text = page(key, study)

    assert f"evidence of {study}" in text
    assert not re.search(r"\b(nan|None(?! of)|inf)\b", re.sub(r"<[^>]+>", " ", text))
    assert "<script>document" not in text
    assert "<img src=x" not in text


def test_the_answer_is_the_evidence_s_own(page, parts):
    from teststrip.evidence.answer import answer

    found = answer(parts.analysis("colours"))
    text = html.unescape(page()).replace("\u00a0", " ")

    assert found.headline in text
    assert found.detail in text
    assert found.caveat in text


@pytest.mark.parametrize("key", KEYS)
def test_what_leads_to_the_wall_is_an_address_that_the_wall_accepts(page, parts, key):
    from teststrip.studio.wall.view import parse

    entry = parts.index.entry("colours")
    found = links_in(page(key), "/wall")
    if key in ("answer", "luck", "parameters", "time", "ranking", "two", "scorers", "confirmed"):
        assert len(found) > 1
    for address in found:
        assert parse(parse_qsl(urlsplit(address).query), entry).study == "colours"


def test_a_point_of_a_curve_leads_to_the_images_of_its_level(page, parts):
    marks = re.findall(
        r'<a class="mark" href="([^"]+)" aria-label="steps 30: ([^"]+)"', page("parameters")
    )
    query = query_of(html.unescape(marks[0][0]))
    table = parts.analysis("colours").table

    assert query["f.recipe.steps"] == "30"
    assert query["f.split"] == "search"
    level = next(
        level
        for effect in parts.analysis("colours").effects
        if effect.field == "steps"
        for level in effect.levels
        if level.label == "30"
    )
    assert f"{level.recipes} recipes on" in marks[0][1]
    assert " to " in marks[0][1], "the interval is part of what is read out"
    assert ((table["recipe.steps"] == 30) & (table["split"] == "search")).sum() > 0


def test_any_two_parameters_can_be_seen_together(page, parts):
    text = page("parameters", a="steps", b="scheduler")

    assert "steps and scheduler together" in text
    cells = [query_of(a) for a in links_in(text, "/wall")]
    both = [q for q in cells if {"f.recipe.scheduler", "f.recipe.steps"} <= set(q)]
    assert len(both) == 6
    assert "together" in page("parameters", a="steps", b="steps")
    assert "together" in page("parameters", a="<b>", b="steps")


def test_the_ranking_lists_every_recipe_each_with_its_images(page, parts):
    ids = {query_of(a).get("f.recipe_id") for a in links_in(page("ranking"), "/wall")}

    assert ids - {None} == {row.recipe_id for row in parts.analysis("colours").ranking.rows}


def test_the_ranking_is_sorted_by_any_column_both_ways(parts):
    analysis = parts.analysis("colours")
    rows = len(analysis.ranking.rows)
    for column in columns_of(analysis):
        once = [line.place for line in listing(analysis, column.key, "", 1).lines]
        turned = [line.place for line in listing(analysis, f"-{column.key}", "", 1).lines]
        assert sorted(once) == sorted(turned) == list(range(1, rows + 1)), column
    gains = [line.row.gain.mean for line in listing(analysis, "gain", "", 1).lines]
    steps = [line.row.settings["steps"] for line in listing(analysis, "set.steps", "", 1).lines]
    assert gains == sorted(gains, reverse=True)
    assert steps == sorted(steps)


def test_an_unknown_column_or_a_page_that_is_not_there_is_the_nearest_that_is(parts):
    analysis = parts.analysis("colours")

    assert listing(analysis, "'; drop", "", 1).sort == "place"
    assert listing(analysis, "place", "", 99).page == 1
    assert listing(analysis, "place", "", -3).page == 1


def test_verdicts_filter_the_ranking(parts):
    analysis = parts.analysis("colours")
    for key, _ in VERDICTS:
        found = listing(analysis, "place", key, 1)
        assert found.found == found.counts[key]
    assert {line.row.recipe_id for line in listing(analysis, "place", "best", 1).lines} == set(
        analysis.ranking.best_set
    )


def test_two_recipes_are_compared_as_the_evidence_compares_them(page, parts):
    analysis = parts.analysis("colours")
    a, b = analysis.ranking.rows[0].recipe_id, analysis.ranking.rows[-1].recipe_id
    found, write = compare(analysis.grid, a, b), analysis.ranking.numbers
    text = html.unescape(page("two", a=a, b=b))

    assert write.signed(found.gain.mean) in text
    assert write.span(found.gain, signed=True) in text
    assert f"{found.images} images each of {found.prompts} prompts" in text
    pairs = [parse_qsl(urlsplit(x).query) for x in links_in(text, "/compare")]
    keys = analysis.table.set_index("image_key")
    matched = [[value for name, value in pair if name == "i"] for pair in pairs]
    for one, other in [pair for pair in matched if len(pair) == 2]:
        assert keys.loc[one, "recipe_id"] == a
        assert keys.loc[other, "recipe_id"] == b
        assert keys.loc[one, "seed"] == keys.loc[other, "seed"]
        assert keys.loc[one, "prompt_id"] == keys.loc[other, "prompt_id"]


def test_a_recipe_that_is_not_there_or_stands_against_itself_is_told(page, parts):
    best = parts.analysis("colours").ranking.best

    text = page("two", status=422, a="<img src=x>", b=best)
    assert "no recipe" in text
    assert "<img src=x>" not in text
    assert "itself says nothing" in page("two", a=best, b=best)


def test_the_plan_is_that_of_the_study_s_own_variances(page, parts):
    analysis = parts.analysis("colours")
    smallest = detectable(spread_of(analysis.variance), 40, 3, 2)
    text = page("plan", prompts="40", seeds="3", comparisons="2")

    assert f"tell a difference of {analysis.ranking.numbers.plain(smallest)}" in text
    assert "prompts x 3 seeds" in page("plan", seeds="3", difference="0.5")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"prompts": "1", "seeds": "0"}, "seeds 0: 1 to 1,000"),
        ({"prompts": "many"}, "a whole number is accepted"),
        ({"difference": "-1"}, "above 0"),
        ({"difference": "nan"}, "above 0"),
        ({"difference": "<b>"}, "above 0"),
    ],
)
def test_a_plan_that_cannot_be_says_what_can(page, query, said):
    text = page("plan", status=422, **query)

    assert said in html.unescape(text)
    assert "<b>" not in text


def test_a_study_without_a_result_shows_what_is_known_and_no_verdict(page, parts):
    state = parts.index.entry("halted").state
    titles = {"running": "still running", "stopped": "stopped before its end"}
    for key in ("answer", "ranking"):
        text = page(key, "halted")
        assert f"halted: {titles[state]}" in text
        assert ("teststrip study resume halted" in text) == (state != "running")
        assert links_in(text, "/wall")
        assert ("Watch it live" in text) == (state == "running")
        assert "The best set" not in text
        assert "Ahead so far" in text
        assert "no verdict" in text
        assert len(re.findall(r"−?[+\d.]+ to [+−][\d.]+", text)) >= 3, "each lead has an interval"


def test_a_confirmed_recipe_leads_to_the_images_that_confirmed_it(page, parts):
    champion = parts.analysis("colours").confirmed.rows[0].a
    queries = [query_of(a) for a in links_in(page("confirmed"), "/wall")]

    filtered = [q for q in queries if len(q) > 1]  # the navigation's has the study alone
    assert {q["f.split"] for q in filtered} == {"held_out"}
    assert champion in {q.get("f.recipe_id") for q in filtered}


def test_images_that_share_no_prompts_get_no_ranking(page):
    text = page("answer", "photos")

    assert "what an unpaired study cannot show" in text
    assert "recipes were not shown the same prompts and seeds" in text
    assert "better than" not in text
    assert links_in(text, "/wall")


def test_what_is_not_there_is_not_found(page, client):
    assert "no study" in html.unescape(page(study="nobody", status=404))
    assert "no section" in page("secrets", status=404)
    text = client.get("/findings", headers={"Accept": "text/html"}).text
    assert {query_of(a)["study"] for a in links_in(text, "/findings") if query_of(a)} >= {
        "colours",
        "small",
        "halted",
        "photos",
    }


def test_a_first_reading_does_not_hold_the_page(parts):
    from starlette.testclient import TestClient

    from teststrip.studio.app import create_app

    gate = threading.Event()

    def slow(name):
        gate.wait(30)
        return parts.analysis(name)

    app = create_app(replace(parts, analysis=slow))
    client = TestClient(app, base_url="http://127.0.0.1", headers={"Accept": "text/html"})
    first = client.get("/findings/luck", params={"study": "colours"})
    gate.set()
    second = client.get(
        "/findings/luck", params={"study": "colours"}, headers={"HX-Target": "evidence"}
    )

    assert "Reading the evidence" in first.text
    assert 'hx-get="?study=colours"' in first.text
    assert first.elapsed.total_seconds() < 5
    assert "How much is luck" in second.text


def test_links_hold_in_a_sub_path(parts):
    from starlette.testclient import TestClient

    from teststrip.studio.app import create_app

    client = TestClient(
        create_app(parts),
        base_url="http://127.0.0.1",
        root_path="/lab",
        headers={"HX-Target": "evidence"},
    )
    text = client.get("/lab/findings/ranking", params={"study": "colours"}).text

    assert links_in(text, "/lab/wall")
    assert links_in(text, "/lab/findings/two")
    assert not links_in(text, "/wall")


def test_the_report_s_style_stays_inside_the_evidence(client):
    style = client.get("/findings/report.css").text

    assert style.startswith(".evidence {")
    assert style.count("{") == style.count("}")


def test_values_in_an_address_are_read_by_the_wall_as_they_were(parts):
    from teststrip.studio.wall.fields import number_of
    from teststrip.studio.wall.view import parse

    values = ["euler_a", "a, b", "back\\slash", "", "\\N", "ü<b>"]
    view = parse([("f.prompt_id", joined(values))], parts.index.entry("colours"))

    assert view.sets == (("prompt_id", tuple(values)),)
    assert number_of(text_of(0.1 + 0.2)) == 0.1 + 0.2
    assert [text_of(v) for v in (7, 7.0, True, False)] == ["7", "7", "true", "false"]
