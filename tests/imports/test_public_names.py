"""What the package and its rooms promise can be imported, and every file has a docstring."""

import importlib
import pkgutil

import pytest

import teststrip

ROOMS = [
    f"teststrip.{found.name}" for found in pkgutil.iter_modules(teststrip.__path__) if found.ispkg
]


def test_the_public_names_are_sorted_and_there():
    assert teststrip.__all__ == sorted(teststrip.__all__)
    for name in teststrip.__all__:
        assert getattr(teststrip, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="teststrip"):
        _ = teststrip.no_such_name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_map_and_keeps_its_promises(room):
    module = importlib.import_module(room)

    assert module.__doc__
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name)
