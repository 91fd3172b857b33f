"""Pictures of another revision come from DVC's cache, else from its remote: real DVC, real S3."""

import shutil
import sys

import pytest

from tests.project.reported import write_results
from teststrip.errors import StorageError
from teststrip.project.revision import at
from teststrip.testing.commands import Commands
from teststrip.testing.s3_server import S3Server

PICTURE = "images/made/g-0.png"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A project whose images DVC keeps, pushed; its second commit has others. And a fresh clone."""
    base = tmp_path_factory.mktemp("kept")
    write_results(base / "project")
    with S3Server(base / "s3") as s3:
        user = Commands(base / "project", settings=s3.env)
        user.git("init", "-q", "-b", "main")
        user.dvc("init", "-q")
        user.dvc("remote", "add", "-d", "storage", f"s3://{s3.bucket}/kept")
        user.dvc("remote", "modify", "storage", "endpointurl", s3.address)
        user.dvc("add", "-q", "images")
        user.commit("First")
        user.dvc("push", "-q")
        first = (base / "project" / PICTURE).read_bytes()
        write_results(base / "project", shift=0.2)
        user.dvc("add", "-q", "images")
        user.commit("Second")
        user.at(base).git("clone", "-q", str(base / "project"), "clone")
        yield user, s3, first


@pytest.fixture(autouse=True)
def settings(world, monkeypatch):
    for name, value in world[0].env.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_the_cache_gives_a_picture_as_it_was(world):
    user, _, first = world

    was, now = at(user.folder, "HEAD~1"), at(user.folder, "HEAD")

    assert was.read(PICTURE) == first
    assert now.read(PICTURE) == (user.folder / PICTURE).read_bytes() != first


@pytest.mark.slow
def test_a_clone_reads_from_the_remote_and_leaves_its_folder_as_it_is(world):
    user, _, first = world
    clone = user.folder.parent / "clone"

    assert at(clone, "HEAD~1").read(PICTURE) == first
    assert not (clone / "images").exists()
    assert user.at(clone).git("status", "--porcelain") == ""


@pytest.mark.slow
def test_what_was_never_pushed_is_said(world):
    clone = world[0].folder.parent / "clone"

    with pytest.raises(StorageError, match="neither in DVC's cache nor on its remote"):
        at(clone, "HEAD").read(PICTURE)


@pytest.mark.slow
def test_a_wrong_secret_is_said_once_and_not_shown(world, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    revision = at(world[0].folder.parent / "clone", "HEAD~1")

    with pytest.raises(StorageError, match=r"remote does not give it: .*project doctor") as first:
        revision.read(PICTURE)
    with pytest.raises(StorageError) as second:
        revision.read("images/made/g-1.png")

    assert "not-the-secret" not in str(first.value)
    assert str(second.value).split(": ", 1)[1] == str(first.value).split(": ", 1)[1]


@pytest.mark.slow
def test_a_remote_that_is_away_is_said(world, tmp_path):
    user, s3, _ = world
    user.at(tmp_path).git("clone", "-q", str(user.folder), "away")
    settings = {"HOME": str(tmp_path), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    asks = (
        "import sys; from pathlib import Path; from teststrip.project.revision import at\n"
        "print(at(Path(sys.argv[1]), 'HEAD~1').read(sys.argv[2]))"
    )
    s3.kill()
    try:
        fresh = Commands(tmp_path / "away", home=tmp_path, settings=s3.env | settings)
        answer = fresh.run(sys.executable, "-c", asks, str(tmp_path / "away"), PICTURE)
    finally:
        s3.start()

    assert answer.code == 1
    assert "DVC's remote does not give it: Could not connect" in answer.err


@pytest.mark.slow
def test_a_picture_changed_in_the_cache_is_refused(world, tmp_path):
    user, _, first = world
    copy = shutil.copytree(user.folder, tmp_path / "copy", symlinks=True)
    (kept,) = [p for p in copy.rglob(".dvc/cache/files/md5/*/*") if p.read_bytes() == first]
    kept.chmod(0o644)
    kept.write_bytes(first + b"more")

    with pytest.raises(StorageError, match="is not what DVC recorded"):
        at(copy, "HEAD~1").read(PICTURE)
