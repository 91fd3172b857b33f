"""Pictures: what is served, what is kept, and that nothing outside the store ever is."""

import hashlib
import io
import os
import shutil
import struct
import zlib

import pandas as pd
import pytest
from PIL import Image
from starlette.testclient import TestClient

from teststrip.errors import StorageError, StudyError
from teststrip.studio.app import create_app
from teststrip.studio.index import Index
from teststrip.studio.parts import Parts
from teststrip.studio.pictures import SIZES, Pictures
from teststrip.studio.pictures.ahead import AHEAD, Ahead
from teststrip.studio.pictures.store import Broken, Vanished

PICTURE = {"accept": "image/avif,image/webp,*/*"}


class Own:
    """A home that a test may spoil, and the parts on it."""

    def __init__(self, home, fetch=None):
        self.home = home
        self.index = Index()
        self.index.refresh(home)
        self.pictures = Pictures(home / "studio" / "thumbs", home, self.index, fetch)
        parts = Parts(home, self.index, self.pictures, analysis=lambda name: None)
        self.client = TestClient(create_app(parts), base_url="http://127.0.0.1")
        rows = self.index.query(f"SELECT image_key, png FROM {self.index.table('colours')}")
        self.keys = [row["image_key"] for row in rows]
        self.key = self.keys[0]
        self.folder = home / "studies" / "colours"
        self.path = self.folder / rows[0]["png"]

    def get(self, path, **headers):
        return self.client.get(path, headers=PICTURE | headers)

    def thumbs(self):
        return sorted((self.home / "studio" / "thumbs").rglob("*.webp"))


@pytest.fixture
def own(made_home, tmp_path):
    shutil.copytree(made_home, tmp_path / "home")
    made = Own(tmp_path / "home")
    yield made
    made.pictures.close()
    made.index.close()


def picture(width, height, kind="PNG", mode="RGB"):
    out = io.BytesIO()
    Image.new(mode, (width, height), 128).save(out, kind)
    return out.getvalue()


def test_an_original_is_byte_for_byte_and_kept_for_good(own):
    got = own.get(f"/images/colours/{own.key}.png")

    assert got.status_code == 200
    assert got.content == own.path.read_bytes()
    assert got.headers["content-type"] == "image/png"
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = own.get(f"/images/colours/{own.key}.png", **{"if-none-match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("size", SIZES)
def test_a_thumbnail_is_made_once_and_kept_for_good(own, size):
    own.path.write_bytes(picture(1000, 500))
    got = own.get(f"/thumbs/{size}/colours/{own.key}.webp")

    assert got.headers["content-type"] == "image/webp"
    assert got.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(got.content)).size == (size, size // 2)
    (file,) = own.thumbs()
    digest = hashlib.sha256(own.path.read_bytes()).hexdigest()
    assert file.name == f"{digest[:40]}-{size}.webp"
    before = file.stat().st_mtime_ns
    again = own.get(f"/thumbs/{size}/colours/{own.key}.webp")
    assert again.content == got.content
    assert again.headers["etag"] == got.headers["etag"]
    assert file.stat().st_mtime_ns == before
    held = {"if-none-match": got.headers["etag"]}
    assert own.get(f"/thumbs/{size}/colours/{own.key}.webp", **held).status_code == 304


def test_equal_pictures_share_a_thumbnail_and_a_changed_one_has_its_own(own):
    first, second = own.keys[:2]
    for key in (first, second):
        (own.folder / f"images/{key[:2]}/{key}.png").write_bytes(picture(300, 300))
    one = own.get(f"/thumbs/96/colours/{first}.webp")
    assert own.get(f"/thumbs/96/colours/{second}.webp").content == one.content
    assert len(own.thumbs()) == 1

    own.path.write_bytes(picture(200, 100))
    changed = own.get(f"/thumbs/96/colours/{first}.webp")
    assert Image.open(io.BytesIO(changed.content)).size == (96, 48)
    assert changed.headers["etag"] != one.headers["etag"]


@pytest.mark.parametrize("kept", [b"", b"RIFF", b"RIFF\xff\xff\x00\x00WEBP", b"text"])
def test_a_thumbnail_that_a_crash_cut_short_is_made_again(own, kept):
    good = own.get(f"/thumbs/96/colours/{own.key}.webp").content
    own.thumbs()[0].write_bytes(kept)

    assert own.get(f"/thumbs/96/colours/{own.key}.webp").content == good
    assert own.thumbs()[0].read_bytes() == good


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("WEBP", "RGBA"), ("PNG", "P")])
def test_imports_may_be_of_other_kinds(own, kind, mode):
    place = own.folder / "images" / f"other.{kind.lower()}"
    place.write_bytes(picture(400, 200, kind, mode))
    frame = pd.read_parquet(own.folder / "images.parquet")
    frame.loc[0, ["image_key", "png"]] = ["ABC-1_x", f"images/{place.name}"]
    frame.to_parquet(own.folder / "images.parquet")
    own.index.refresh(own.home)

    got = own.get("/images/colours/ABC-1_x.png")
    assert got.headers["content-type"] == f"image/{kind.lower()}"
    assert own.get("/thumbs/96/colours/ABC-1_x.webp").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/images/nowhere/{key}.png",
        "/images/..%2fcolours/{key}.png",
        "/images/colours/..%2f..%2fstudy.json.png",
        "/images/colours/%2fetc%2fpasswd.png",
        "/images/colours/..%5c..%5cstudy.png",
        "/images/colours/a%00b.png",
        "/images/colours/%2e%2e.png",
        "/images/%2e%2e/{key}.png",
        "/images/colours/" + "a" * 200 + ".png",
        "/images/colours/{key}%0a.png",
        "/images/colours/{key}'%20OR%201=1--.png",
        "/thumbs/96/nowhere/{key}.webp",
        "/thumbs/96/colours/..%2f..%2fx.webp",
        "/thumbs/97/colours/{key}.webp",
        "/thumbs/-1/colours/{key}.webp",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_no_address_leaves_the_store(own, path):
    got = own.get(path.format(key=own.key))

    assert got.status_code == 404
    assert b"root:" not in got.content
    assert b"config" not in got.content


def test_no_path_in_a_table_leaves_its_study(own, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(8, 8))
    (own.folder / "images" / "out.png").symlink_to(secret)
    (own.folder / "link").symlink_to(tmp_path)
    (own.folder / "images" / "in.png").symlink_to(own.path)
    (own.folder / "images" / "pipe.png").mkdir()
    other = next((own.home / "studies" / "small" / "images").rglob("*.png"))
    said = {
        "up": "../../../secret.png",
        "absolute": str(secret),
        "nul": "images/\0.png",
        "symlink": "images/out.png",
        "linked-folder": "link/secret.png",
        "neighbour": f"../small/{other.relative_to(own.home / 'studies' / 'small')}",
        "folder": "images/pipe.png",
        "record": "study.json",
        "within": "images/in.png",
    }
    frame = pd.read_parquet(own.folder / "images.parquet").head(len(said))
    frame["image_key"], frame["png"] = list(said), list(said.values())
    frame.to_parquet(own.folder / "images.parquet")
    own.index.refresh(own.home)

    for key in said:
        image = own.get(f"/images/colours/{key}.png")
        thumb = own.get(f"/thumbs/96/colours/{key}.webp")
        wanted = {"within": 200, "record": 422}.get(key, 404)
        assert (image.status_code, thumb.status_code) == (wanted, wanted), key


def test_a_symlink_in_the_usual_place_is_not_followed_out(own, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(8, 8))
    own.path.unlink()
    own.path.symlink_to(secret)

    assert own.get(f"/images/colours/{own.key}.png").status_code == 404


def test_a_vanished_picture_is_a_placeholder_that_is_not_kept(own):
    thumb = own.get(f"/thumbs/96/colours/{own.key}.webp").content
    data = own.path.read_bytes()
    own.path.unlink()
    for path in (f"/images/colours/{own.key}.png", f"/thumbs/96/colours/{own.key}.webp"):
        got = own.get(path)
        assert got.status_code == 404
        assert got.headers["content-type"] == "image/svg+xml"
        assert got.headers["cache-control"] == "no-store"
        assert "vanished" in got.text
    with pytest.raises(Vanished):
        own.pictures.original("colours", own.key)

    own.path.write_bytes(data)
    assert own.get(f"/thumbs/96/colours/{own.key}.webp").content == thumb


def bomb():
    """A PNG of 30,000 x 30,000 pixels in a few hundred bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", picture(64, 64)[:60], bomb(), picture(8000, 7000, mode="1"), b"GIF89a"],
    ids=["empty", "text", "cut off", "bomb", "too large", "a gif"],
)
def test_a_broken_picture_is_a_placeholder(own, data):
    own.path.write_bytes(data)
    got = own.get(f"/thumbs/96/colours/{own.key}.webp")

    assert got.status_code == 422
    assert "broken" in got.text
    with pytest.raises(Broken):
        own.pictures.thumb("colours", own.key, 96)
    assert own.get(f"/thumbs/96/colours/{own.keys[1]}.webp").status_code == 200


def test_a_cache_that_cannot_be_written_costs_time_and_no_picture(own, caplog):
    (own.home / "studio").mkdir()
    (own.home / "studio" / "thumbs").write_text("a file")

    for key in own.keys[:2] * 2:
        assert own.get(f"/thumbs/96/colours/{key}.webp").status_code == 200
    assert [r.message for r in caplog.records if "made again" in r.message] == [
        caplog.records[0].message
    ]


def test_thumbnails_are_made_ahead_and_on_for_new_images(own):
    ahead = Ahead(own.pictures, own.index)
    os.remove(own.path)
    ahead.add(["colours", "nowhere"])
    assert ahead.wait(60)

    contents = {path.read_bytes() for path in (own.folder / "images").rglob("*.png")}
    assert len(own.thumbs()) == len(AHEAD) * len(contents)
    assert own.pictures.ready("colours", own.keys[1], AHEAD[0]) is not None
    ahead.stop()
    ahead.stop()

    for thumb in own.thumbs():
        thumb.unlink()
    later = Ahead(own.pictures, own.index)
    later.add(["colours"])  # it was done before, so a start looks at nothing
    assert later.wait(60)
    assert own.thumbs() == []
    os.utime(own.folder / "images.parquet")
    own.index.refresh(own.home)
    later.add(["colours"])
    assert later.wait(60)
    assert own.thumbs()
    later.stop()


def test_what_is_unknown_is_a_study_error(own):
    for call in (
        lambda: own.pictures.original("nowhere", own.key),
        lambda: own.pictures.original("colours", "../x"),
        lambda: own.pictures.thumb("colours", own.key, 100),
    ):
        with pytest.raises(StudyError):
            call()


def far_home(made_home, tmp_path):
    """A home where `colours` is a study of MLflow alone: its table, no pictures."""
    home = tmp_path / "far"
    place = home / "studio" / "remote" / "colours"
    place.mkdir(parents=True)
    for name in ("study.json", "images.parquet"):
        shutil.copy(made_home / "studies" / "colours" / name, place)
    return home


def test_a_picture_from_the_tracker_is_asked_for_once(made_home, tmp_path):
    asked = []

    def fetch(study, key):
        asked.append((study, key))
        return picture(40, 20)

    own = Own(far_home(made_home, tmp_path), fetch)
    for _ in range(2):
        assert own.get(f"/thumbs/96/colours/{own.key}.webp").status_code == 200
        assert own.get(f"/images/colours/{own.key}.png").content == picture(40, 20)
    assert asked == [("colours", own.key)]
    own.pictures.close()


def test_a_tracker_that_is_down_is_said_and_local_studies_work(made_home, tmp_path):
    home = far_home(made_home, tmp_path)
    shutil.copytree(made_home / "studies" / "small", home / "studies" / "small")

    def down(study, key):
        raise StorageError("MLflow does not answer")

    own = Own(home, down)
    got = own.get(f"/thumbs/96/colours/{own.key}.webp")
    assert (got.status_code, got.headers["cache-control"]) == (503, "no-store")
    assert own.get(f"/images/colours/{own.key}.png").status_code == 503
    near = own.index.query(f"SELECT image_key FROM {own.index.table('small')} LIMIT 1")
    assert own.get(f"/thumbs/96/small/{near[0]['image_key']}.webp").status_code == 200
    own.pictures.close()


def test_a_tracker_that_is_slow_does_not_hold_the_page(made_home, tmp_path, monkeypatch):
    import threading

    from teststrip.studio.pictures import routes

    monkeypatch.setattr(routes, "LONGEST_FETCH_S", 0.1)
    answer = threading.Event()

    def slow(study, key):
        answer.wait(20)
        return picture(40, 20)

    own = Own(far_home(made_home, tmp_path), slow)
    got = own.get(f"/thumbs/96/colours/{own.key}.webp")
    assert got.status_code == 503
    answer.set()
    own.pictures.fetchers.shutdown(wait=True)
    assert own.get(f"/thumbs/96/colours/{own.key}.webp").status_code == 200
    own.pictures.close()


def test_a_tracker_that_sends_no_picture_is_not_believed(made_home, tmp_path):
    own = Own(far_home(made_home, tmp_path), lambda study, key: b"<html>sorry</html>")

    assert own.get(f"/images/colours/{own.key}.png").status_code == 422
    assert not list((own.home / "studio" / "remote").rglob("*.png"))
    own.pictures.close()
