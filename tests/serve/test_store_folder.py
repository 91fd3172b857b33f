"""The folder as a store; which store the settings choose."""

from pathlib import Path

import pytest

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.config import ServiceConfig
from teststrip.serve.store.choose import store_of
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.store.s3 import S3Store

pytestmark = pytest.mark.anyio


async def test_nothing_but_whole_objects_is_left(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    await store.open()
    await store.put("jobs/a/0.png", b"x", "image/png")
    await store.put("jobs/a/0.png", b"x", "image/png")
    await store.put("jobs/a/0.png", b"y", "image/png", replace=True)

    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["0.png"]


async def test_a_part_that_a_killed_process_left_is_no_object_and_goes_with_its_job(
    tmp_path: Path,
) -> None:
    (tmp_path / "jobs" / "a").mkdir(parents=True)
    (tmp_path / "jobs" / "a" / ".0.png.abc").write_bytes(b"half")
    store = FolderStore(tmp_path)

    assert [s async for s in store.below("")] == []
    assert await store.delete("jobs/a") == 0
    assert not (tmp_path / "jobs" / "a").exists()


async def test_its_pictures_are_handed_on_by_the_web(tmp_path: Path) -> None:
    assert await FolderStore(tmp_path).url("jobs/a/0.png", 60) is None


async def test_a_folder_that_cannot_be_made_is_one_clear_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FolderStore(tmp_path / "file" / "images")

    assert await store.is_ready() is False
    with pytest.raises(StorageError, match="file/images: cannot be written"):
        await store.open()
    with pytest.raises(StorageError, match=r"0\.png: cannot be written"):
        await store.put("jobs/a/0.png", b"x", "image/png")


async def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    assert isinstance(store_of(ServiceConfig(), tmp_path), FolderStore)
    assert isinstance(store_of(ServiceConfig(store=str(tmp_path)), tmp_path), FolderStore)
    assert isinstance(store_of(ServiceConfig(store="s3://bucket/some"), tmp_path), S3Store)


@pytest.mark.parametrize("where", ["s3://", "s3:///x", "gs://bucket", "s3://bucket/../up"])
async def test_a_store_that_is_none_is_refused(where: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TESTSTRIP_SERVICE_STORE"):
        store_of(ServiceConfig(store=where), tmp_path)
