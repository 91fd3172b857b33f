"""constraints.txt: one pinned set that any machine can install with plain pip."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = [Requirement(line) for line in LINES if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = [
    Requirement(text)
    for group in (
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    )
    for text in group
    if not text.startswith("teststrip[")
]


def pins_of(name: str) -> list[Requirement]:
    return [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]


def test_every_line_is_one_exact_version_without_address_or_local_label():
    for pin in PINS:
        (specifier,) = pin.specifier
        assert pin.url is None
        assert specifier.operator == "=="
        assert "+" not in specifier.version
        assert "*" not in specifier.version


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_every_dependency_is_pinned_to_a_version_it_accepts(wanted):
    pins = pins_of(wanted.name)

    assert pins
    assert all(wanted.specifier.contains(next(iter(pin.specifier)).version) for pin in pins)


def test_there_is_one_torch_for_every_machine():
    (pin,) = pins_of("torch")

    assert str(pin.specifier) == "==2.13.0"
    assert pin.marker is None


def test_extras_are_all_in_all_but_the_large_and_the_rare():
    extras = PROJECT["project"]["optional-dependencies"]

    apart = {"ray", "onnx", "datasets", "optimizers", "server", "pipeline"}
    assert set(Requirement(extras["all"][0]).extras) == set(extras) - {"all"} - apart
