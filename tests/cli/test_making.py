import io
import sys

import pytest

from teststrip import Block, Generation, Recipe, Request
from teststrip.cli import making
from teststrip.records import Progress

REQUEST = Request(recipe=Recipe(steps=4), block=Block(prompt="A cat & a dog", seed=3))


def generation(png: bytes = b"one", prompt: str = "A cat & a dog") -> Generation:
    request = REQUEST.model_copy(update={"block": Block(prompt=prompt, seed=3)})
    return Generation(request, "0123456789abcdef", png, 0.5, 4)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A cat & a dog", "a-cat-a-dog-3-01234567.png"),
        ("../../etc/passwd", "etc-passwd-3-01234567.png"),
        ("!!!", "image-3-01234567.png"),
        ("ein Schloß am See", "ein-schloß-am-see-3-01234567.png"),
        ("word " * 40, "word-word-word-word-word-word-word-word-3-01234567.png"),
    ],
)
def test_a_file_name_says_what_it_shows_and_stays_in_its_folder(prompt, name):
    assert making.file_name(generation(prompt=prompt)) == name


def test_the_longest_file_name_fits_any_file_system(tmp_path):
    path = making.save(generation(prompt="\U00020000" * 100), tmp_path)

    assert len(path.name.encode()) <= 255


def test_another_file_of_that_name_is_never_overwritten(tmp_path):
    first = making.save(generation(b"one"), tmp_path)
    second = making.save(generation(b"two"), tmp_path)
    again = making.save(generation(b"one"), tmp_path)

    assert first.read_bytes() == b"one"
    assert second.read_bytes() == b"two"
    assert second.name == "a-cat-a-dog-3-01234567-2.png"
    assert again == first


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet_s", "is_shown"),
    [(Terminal(), 0.0, True), (Terminal(), 60.0, False), (io.StringIO(), 0.0, False)],
    ids=["long work on a terminal", "short work", "no terminal"],
)
def test_the_bar_shows_only_for_long_work_on_a_terminal(stream, quiet_s, is_shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(making, "QUIET_S", quiet_s)

    with making.progress_bar(8) as on_progress:
        for done in range(1, 9):
            on_progress(Progress(REQUEST, done, 8))

    assert ("8/8" in stream.getvalue()) == is_shown
    assert is_shown or stream.getvalue() == ""
