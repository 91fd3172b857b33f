"""Prompts are split by their own hash; blocks are the same for all and spread over prompts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teststrip.errors import ConfigError
from teststrip.study.blocks import order_blocks
from teststrip.study.config import StudyConfig
from teststrip.study.prompts import Prompts, read_prompts

TEXTS = st.lists(
    st.text("abcdef ", min_size=1, max_size=12).map(str.strip).filter(bool),
    min_size=2,
    max_size=30,
    unique=True,
)


@given(texts=TEXTS, share=st.floats(0.05, 0.9))
def test_the_split_is_whole_disjoint_and_blind_to_order(texts, share):
    search, held = Prompts(items=texts, held_out=share).split()

    assert {p.text for p in search} | {p.text for p in held} == set(texts)
    assert not {p.text for p in search} & {p.text for p in held}
    assert search
    assert held
    other = Prompts(items=texts[::-1], held_out=share).split()
    assert {p.text for p in other[1]} == {p.text for p in held}


@given(texts=TEXTS, share=st.floats(0.05, 0.9))
def test_one_prompt_more_moves_one_prompt_at_most(texts, share):
    before = {p.text for p in Prompts(items=texts, held_out=share).split()[1]}
    after = {p.text for p in Prompts(items=[*texts, "a new one, 9"], held_out=share).split()[1]}

    assert len((before ^ after) - {"a new one, 9"}) <= 1


def test_the_template_does_not_move_the_split():
    texts = [f"thing {i}" for i in range(20)]
    plain = Prompts(items=texts, held_out=0.3).split()[1]
    dressed = Prompts(items=texts, held_out=0.3, template="a photo of {prompt}").split()[1]

    assert [f"a photo of {p.text}" for p in plain] == [p.text for p in dressed]


def test_the_first_blocks_are_different_prompts_and_every_prompt_has_the_same_seeds():
    prompts = Prompts(items=[f"thing {i}" for i in range(6)]).split()[0]

    blocks = order_blocks(prompts, range(100, 103), "search")

    for start in (0, 6, 12):
        assert len({b.block.prompt for b in blocks[start : start + 6]}) == 6
        assert {b.block.seed for b in blocks[start : start + 6]} == {100 + start // 6}
    assert [b.index for b in blocks] == list(range(18))
    assert order_blocks(prompts[::-1], range(100, 103), "search") == blocks


def test_held_out_blocks_share_neither_prompt_nor_seed_with_the_search(config):
    study = StudyConfig.model_validate(config())
    search, held = study.blocks, study.held_out_blocks(5)

    assert len(held) == 2 * 5
    assert not {b.block.prompt for b in search} & {b.block.prompt for b in held}
    assert not {b.block.seed for b in search} & {b.block.seed for b in held}
    assert {b.split for b in held} == {"held_out"}


def test_prompts_come_from_csv_and_yaml_too(tmp_path):
    (tmp_path / "a.csv").write_text('text,tags\n"a cat, asleep",pet;cat\nan apple,\n')
    (tmp_path / "b.yaml").write_text("- a cat\n- {text: an apple, tags: [fruit]}\n")

    assert read_prompts(tmp_path / "a.csv") == [
        {"text": "a cat, asleep", "tags": ["pet", "cat"]},
        {"text": "an apple", "tags": []},
    ]
    assert Prompts(items=read_prompts(tmp_path / "b.yaml")).items[1].tags == ("fruit",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"words\nx\n", "needs a column `text`"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read"),
        ("a.docx", b"", "unknown kind of prompts file"),
        ("a.yaml", b"a: 1", "must be a list"),
    ],
)
def test_a_bad_prompts_file_is_one_clear_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        read_prompts(tmp_path / name)
