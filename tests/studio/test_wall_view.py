"""The wall's address: what it says comes back, and every fault of it is told at once."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teststrip.errors import ConfigError
from teststrip.studio.index import Entry, Score, Setting
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.view import PER, SIZES, Range, View, parse

ENTRY = Entry(
    name="a study & more",
    kind="study",
    state="finished",
    objective="good@1",
    higher_is_better=True,
    baseline=None,
    design=None,
    created="",
    images=1,
    failed=0,
    recipes=1,
    prompts=1,
    paired=True,
    settings=(
        Setting("recipe.steps", "steps", True, (4, 8)),
        Setting("recipe.loras", "loras", False, ("a,b", "")),
        Setting("param.min", "min", True, (0.1, 0.2)),
    ),
    scores=(Score("good@1", True, 0.0, 1.0), Score("bad.x@2", False, None, None)),
    tags=("t",),
    version="1",
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
DIGITS = st.one_of(st.integers(-(2**60), 2**60), NUMBER).map(known.text_of)


def values_of(field: str) -> st.SearchStrategy[tuple[str, ...]]:
    numeric = known.fields(ENTRY)[field].kind == "number"
    one = st.one_of(DIGITS if numeric else TEXT, st.just(known.NOTHING))
    return st.lists(one, min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> View:
    names = known.axis_names(ENTRY)
    axes = draw(st.lists(st.one_of(st.none(), st.sampled_from(names)), min_size=4, max_size=4))
    seen: list[str | None] = []
    for axis in axes:
        seen.append(None if axis in seen else axis)
    chosen = draw(st.lists(st.sampled_from(known.set_names(ENTRY)), max_size=3, unique=True))
    hidden = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    spans = []
    for field in draw(st.lists(st.sampled_from(known.range_names(ENTRY)), max_size=3, unique=True)):
        low, high = sorted((draw(NUMBER), draw(NUMBER)))
        ends = draw(st.sampled_from([(low, high), (low, None), (None, high)]))
        spans.append(Range(field, *ends))
    sort = draw(st.sampled_from(known.sort_names(ENTRY)))
    return View(
        ENTRY.name,
        *seen,
        score=draw(st.sampled_from(known.score_names(ENTRY))),
        sort=sort if sort == "order" else draw(st.sampled_from(["", "-"])) + sort,
        show=draw(st.sampled_from(["images", "mean"])),
        per=draw(st.sampled_from(PER)),
        size=draw(st.sampled_from(SIZES)),
        q=draw(TEXT),
        status=draw(st.sampled_from(["all", "ok", "failed"])),
        sets=tuple((name, draw(values_of(name))) for name in chosen),
        ranges=tuple(spans),
        hidden=tuple((name, draw(values_of(name))) for name in hidden),
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(views())
def test_an_address_gives_the_same_view_back(view: View) -> None:
    assert parse(view.query(), ENTRY) == view


def test_all_faults_are_told_at_once() -> None:
    pairs = [
        ("x", "recipe.nothing"),
        ("y", "seed"),
        ("x2", "seed"),
        ("score", "worst@1"),
        ("sort", "-luck"),
        ("per", "5"),
        ("f.recipe.steps", "4,many"),
        ("f.prompt.min", "1"),
        ("f.good@1.min", "nan"),
        ("f.recipe.steps.min", "9"),
        ("f.recipe.steps.max", "3"),
        ("hide.good@1", "1"),
        ("colour", "red"),
        ("q", "x" * 501),
    ]

    with pytest.raises(ConfigError) as told:
        parse(pairs, ENTRY)

    assert len(told.value.faults) == 12
    for word in ("recipe.nothing", "another axis", "worst@1", "-luck", "per is '5'", "'many'"):
        assert word in str(told.value)
    for word in ("f.prompt.min", "'nan'", "min 9", "'good@1' is no field", "'colour'", "501"):
        assert word in str(told.value)


def test_a_bare_address_starts_at_the_default_and_filters_alone_have_no_axes() -> None:
    default = View(ENTRY.name, x="recipe.steps", y="seed", sets=(("split", ("search",)),))

    bare = parse([("study", ENTRY.name), ("show", "mean")], ENTRY, default)
    filtered = parse([("f.recipe.steps", "8")], ENTRY, default)

    assert bare == replace(default, score="good@1", show="mean")
    assert filtered.is_flat
    assert filtered.sets == (("recipe.steps", ("8",)),)


def test_a_setting_called_min_is_itself_and_its_end_a_range() -> None:
    view = parse([("f.param.min", "0.1"), ("f.param.min.min", "0.05")], ENTRY)

    assert view.sets == (("param.min", ("0.1",)),)
    assert view.ranges == (Range("param.min", 0.05, None),)


def test_boxes_of_a_form_come_as_repeated_names_and_empty_ones_are_nothing() -> None:
    pairs = [("f.recipe.steps", "4"), ("f.recipe.steps", "8"), ("f.good@1.min", ""), ("q", "")]

    assert parse(pairs, ENTRY) == View(
        ENTRY.name, score="good@1", sets=(("recipe.steps", ("4", "8")),)
    )
