from pathlib import Path
from typing import Any

import pytest

from teststrip.config import MAX_CONFIG_BYTES, parse, read_yaml, with_changes
from teststrip.errors import ConfigError
from teststrip.recipe import Frozen


class Inner(Frozen):
    size: int = 1


class Outer(Frozen):
    name: str
    inner: Inner = Inner()


def test_every_fault_is_one_line_with_its_place_and_value() -> None:
    data = {"inner": {"size": "big", "colour": 1}, "extra": [1] * 100}

    with pytest.raises(ConfigError) as caught:
        parse(Outer, data, "study.yaml")

    text = str(caught.value)
    assert text.splitlines()[0] == "study.yaml: 4 faults"
    assert "name: Field required" in text
    assert "inner.size: " in text
    assert "'big'" in text
    assert "inner.colour: unknown key" in text
    assert all(len(line) < 200 for line in text.splitlines())


def test_a_right_one_is_returned_frozen() -> None:
    config = parse(Outer, {"name": "a", "inner": {"size": 3}}, "x")

    assert config.inner.size == 3


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_mapping_is_one_fault(data: Any) -> None:
    with pytest.raises(ConfigError, match="x: 1 fault"):
        parse(Outer, data, "x")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a: [1", "not valid YAML"),
        (b"a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"\xff\xfe\xfa", "cannot be read"),
        (b"#" * (MAX_CONFIG_BYTES + 1), "larger than"),
    ],
    ids=["torn", "code", "not text", "huge"],
)
def test_files_that_are_no_yaml_are_refused(content: bytes, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=fault) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: no such file"):
        read_yaml(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)


def test_changes_reach_deep_keys_as_yaml_and_leave_the_original() -> None:
    data = {"a": {"b": 1, "c": 2}, "d": "x"}

    changed = with_changes(data, ["a.b=[1, 2]", "e.f=true", "d=y=z"])

    assert changed == {"a": {"b": [1, 2], "c": 2}, "d": "y=z", "e": {"f": True}}
    assert data == {"a": {"b": 1, "c": 2}, "d": "x"}


@pytest.mark.parametrize("change", ["steps", "=3", ""])
def test_a_change_without_key_or_value_is_refused(change: str) -> None:
    with pytest.raises(ConfigError, match="write key=value"):
        with_changes({}, [change])
