"""The folder as a store."""

import asyncio
from pathlib import Path

import pytest

from teststrip.errors import StorageError
from teststrip.serve.store.folder import FolderStore


def test_nothing_but_whole_objects_is_left(tmp_path: Path) -> None:
    async def check() -> None:
        store = FolderStore(tmp_path)
        await store.open()
        await store.put("jobs/a/0.png", b"x", "image/png")
        await store.put("jobs/a/0.png", b"x", "image/png")
        await store.put("jobs/a/0.png", b"y", "image/png", replace=True)

    asyncio.run(check())
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["0.png"]


def test_a_part_that_a_killed_process_left_is_no_object_and_goes_with_its_job(
    tmp_path: Path,
) -> None:
    (tmp_path / "jobs" / "a").mkdir(parents=True)
    (tmp_path / "jobs" / "a" / ".0.png.abc").write_bytes(b"half")

    async def check() -> None:
        store = FolderStore(tmp_path)
        assert [s async for s in store.below("")] == []
        assert await store.delete("jobs/a") == 0

    asyncio.run(check())
    assert not (tmp_path / "jobs" / "a").exists()


def test_its_pictures_are_handed_on_by_the_web(tmp_path: Path) -> None:
    assert asyncio.run(FolderStore(tmp_path).url("jobs/a/0.png", 60)) is None


def test_a_folder_that_cannot_be_made_is_one_clear_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FolderStore(tmp_path / "file" / "images")

    assert asyncio.run(store.is_ready()) is False
    with pytest.raises(StorageError, match="file/images: cannot be written"):
        asyncio.run(store.open())
    with pytest.raises(StorageError, match=r"0\.png: cannot be written"):
        asyncio.run(store.put("jobs/a/0.png", b"x", "image/png"))
