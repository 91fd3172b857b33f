"""The tensor store: whole, shared, bounded, and mended where damaged."""

import os

import pytest
import torch

from teststrip.train.cache.store import TensorStore, key_of

NAMES = ("mean", "std")


def pair(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"mean": torch.full((4, 2, 2), value), "std": torch.full((4, 2, 2), value / 2)}


def test_what_was_put_is_found_by_another_store_of_the_same_folder(tmp_path):
    TensorStore(tmp_path).put(key_of("a", 1), pair(0.3))

    found = TensorStore(tmp_path).find(key_of("a", 1), NAMES)

    assert found is not None
    assert found["mean"].equal(pair(0.3)["mean"])
    assert found["std"].equal(pair(0.3)["std"])
    assert TensorStore(tmp_path).find(key_of("a", 2), NAMES) is None


def test_every_fact_changes_the_key():
    facts = [("a", 1), ("a", 2), ("b", 1), ("a", (1, 2)), ("a", True), ("a", "1")]

    assert len({key_of(*each) for each in facts}) == len(facts)


def damage(kind: str, data: bytes) -> bytes:
    if kind == "empty":
        return b""
    if kind == "cut":
        return data[:-5]
    if kind == "no safetensors":
        return b"not this at all" * 9
    from safetensors.torch import load, save

    tensors = load(data)
    if kind == "not finite":
        tensors["std"][0, 0, 0] = torch.nan
    elif kind == "other names":
        tensors["more"] = tensors.pop("std")
    return save(tensors)


@pytest.mark.parametrize("kind", ["empty", "cut", "no safetensors", "not finite", "other names"])
def test_a_damaged_entry_is_not_found_and_can_be_put_again(tmp_path, kind, caplog):
    TensorStore(tmp_path).put("k", pair())
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(damage(kind, path.read_bytes()))
    store = TensorStore(tmp_path)

    assert store.find("k", NAMES) is None
    assert "made again" in caplog.text

    store.put("k", pair())
    assert TensorStore(tmp_path).find("k", NAMES) is not None


def test_memory_is_bounded_and_the_disk_holds_the_rest(tmp_path):
    store = TensorStore(tmp_path, most_bytes=3 * 128)  # an entry is 2 x 16 x 4 bytes
    for number in range(10):
        store.put(f"k{number}", pair(float(number)))

    assert len(store._memory) == 3
    assert store._bytes == 3 * 128
    for number in range(10):
        found = store.find(f"k{number}", NAMES)
        assert found is not None
        assert found["mean"][0, 0, 0] == number


def test_without_a_folder_entries_are_kept_in_memory():
    store = TensorStore(None)
    store.put("k", pair())

    assert store.has("k")
    assert store.find("k", NAMES) is not None
    assert not store.has("other")
    assert store.find("other", NAMES) is None


def test_nothing_half_written_is_left_and_a_disk_that_refuses_stops_nobody(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    store = TensorStore(tmp_path / "cache")

    store.put("a", pair())
    store.put("b", pair())

    assert store.find("a", NAMES) is not None
    assert len(caplog.records) == 1
    assert "kept in memory" in caplog.text
    assert os.listdir(tmp_path) == ["cache"]
