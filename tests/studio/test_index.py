"""The index: what it holds, how it follows, what broken files do to it."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import duckdb
import pandas as pd
import pytest

from teststrip.errors import StorageError, StudyError
from teststrip.studio.index import Index
from teststrip.studio.index.follow import Follower
from teststrip.study import Study
from teststrip.study.folder import StudyFolder


@pytest.fixture
def own(made_home, tmp_path):
    """A home that this test may spoil."""
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def index(own):
    made = Index()
    made.refresh(own)
    yield made
    made.close()


def test_an_entry_says_what_a_study_varies_and_scores(index):
    entry = index.entry("colours")

    assert entry.kind == "study"
    assert (entry.state, entry.design, entry.paired) == ("finished", "grid", True)
    assert (entry.objective, entry.higher_is_better) == ("synthetic@1", True)
    assert {s.label: s.values for s in entry.settings} == {
        "scheduler": ("ddim", "euler"),
        "steps": (10, 20, 30),
        "guidance": (4.5, 7.5),
    }
    assert [s.numeric for s in entry.settings] == [False, True, True]
    directions = {s.column: s.higher_is_better for s in entry.scores}
    assert directions["synthetic@1"] is True
    assert directions["technical.noise@1"] is False
    assert entry.tags == ("<b>bold</b>", "animal", "food", "place", "still")
    assert entry.recipes == 12
    assert [e.name for e in index.entries()] == ["small", "colours"]  # the newest first


def test_lead_and_disagreement_are_what_pandas_says(index, own):
    frame = pd.read_parquet(own / "studies" / "colours" / "images.parquet")
    block = ["split", "prompt_id", "seed"]
    wanted = frame["synthetic@1"] - frame.groupby(block)["synthetic@1"].transform("mean")
    rows = index.query(
        f"SELECT lead, disagreement, image_key, tags FROM {index.table('colours')} "
        "ORDER BY image_id"
    )

    assert [row["image_key"] for row in rows] == list(frame["image_key"])
    assert [row["lead"] for row in rows] == pytest.approx(list(wanted))
    assert all(0 <= row["disagreement"] <= 1 for row in rows)
    assert rows[0]["tags"] == frame["tags"][0].split(";")

    scores = [c for c in frame if c.endswith("@1")]
    record = json.loads((own / "studies" / "colours" / "study.json").read_text())
    ranks = {}
    for column in scores:
        place = frame.groupby("prompt_id")[column]
        n = place.transform("size")
        low, high = place.rank(method="min"), place.rank(method="max")
        middle = ((low - 1) / (n - 1) + high / n) / 2
        ranks[column] = middle if record["higher_is_better"][column] else 1 - middle
    technical = sum(ranks[c] for c in scores if c.startswith("technical")) / (len(scores) - 1)
    spread = (ranks["synthetic@1"] - technical).abs()
    assert [row["disagreement"] for row in rows] == pytest.approx(list(spread))


def test_lower_is_better_turns_the_lead(index, own):
    path = own / "studies" / "small" / "study.json"
    record = json.loads(path.read_text())
    record["result"]["higher_is_better"] = False
    before = index.query(f"SELECT lead FROM {index.table('small')} ORDER BY image_id")
    path.write_text(json.dumps(record))

    assert index.refresh(own) == ["small"]
    after = index.query(f"SELECT lead FROM {index.table('small')} ORDER BY image_id")
    assert [r["lead"] for r in after] == pytest.approx([-r["lead"] for r in before])
    assert not index.entry("small").higher_is_better


def test_only_what_changed_is_loaded_and_what_vanished_is_dropped(index, own):
    version = index.entry("small").version
    assert index.refresh(own) == []
    os.utime(own / "studies" / "small" / "images.parquet", (1, 1))
    assert index.refresh(own) == ["small"]
    assert index.entry("small").version != version

    shutil.rmtree(own / "studies" / "small")
    assert index.refresh(own) == ["small"]
    with pytest.raises(StudyError, match=r"no study 'small' here; there are: colours"):
        index.entry("small")
    assert len(index.query("SELECT * FROM studies")) == 1


def test_a_running_study_is_followed(own):
    index = Index()
    index.refresh(own)
    seen, done = [], threading.Event()

    def note(names):
        if "later" in names:
            entry = index.entry("later")
            seen.append((entry.state, entry.images))
            if entry.state == "finished":
                done.set()

    follower = index.follow(own, 0.05, note)
    config = json.loads((own / "studies" / "small" / "study.json").read_text())["config"]
    config |= {"name": "later", "generator": {"name": "synthetic", "options": {"delay_s": 0.2}}}
    Study(config, home=own).run()

    assert done.wait(20)
    assert seen[0][0] == "running"
    assert seen[-1] == ("finished", index.entry("later").images)
    assert [n for _, n in seen] == sorted(n for _, n in seen)
    assert len({n for _, n in seen}) > 1, "it grew while it ran"
    index.close()
    assert not follower.is_running


def test_a_killed_study_is_not_running(own):
    folder = own / "studies" / "small"
    record = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(record | {"state": "running"}))
    index = Index()

    index.refresh(own)
    assert index.entry("small").state == "stopped"  # whoever ran it left its lock behind
    with StudyFolder(folder).locked():
        index.refresh(own)
        assert index.entry("small").state == "running"
    index.refresh(own)
    assert index.entry("small").state == "stopped"
    index.close()


GOOD = {"recipe_id": ["a", "b"], "prompt_id": ["p", "p"], "seed": [1, 1], "s@1": [1.0, 2.0]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-900]),
        lambda path: path.write_bytes(b"PAR1 and no more PAR1"),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "half written", "noise", "a folder"],
)
def test_a_broken_table_is_a_failed_entry_and_the_rest_works(own, spoil):
    spoil(own / "studies" / "small" / "images.parquet")
    index = Index()
    index.refresh(own)

    entry = index.entry("small")
    assert (entry.state, entry.images, entry.scores) == ("failed", 0, ())
    assert index.fault("small")
    assert index.query(f"SELECT lead, tags, png FROM {index.table('small')}") == []
    assert index.entry("colours").images > 0
    index.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00"])
def test_a_damaged_record_is_a_failed_entry(own, text):
    (own / "studies" / "small" / "study.json").write_text(text)
    index = Index()
    index.refresh(own)

    assert index.entry("small").state == "failed"
    assert "study.json" in index.fault("small")
    index.close()


def test_a_study_without_a_table_has_no_images_yet(own):
    (own / "studies" / "small" / "images.parquet").unlink()
    index = Index()
    index.refresh(own)

    assert (index.entry("small").images, index.fault("small")) == (0, "")
    index.close()


@pytest.mark.parametrize(
    ("columns", "images"),
    [
        (GOOD, 2),
        (GOOD | {"nested": [{"a": 1}, {"a": 2}], "raw": [b"x", b"y"]}, 2),
        (GOOD | {"recipe.steps": [1, 2], "Recipe.Steps": ["x", "y"], "": [0, 0]}, 2),
        (GOOD | {"lead": ["mine", "mine"], "image_id": [7, 7], "disagreement": [9, 9]}, 2),
        (GOOD | {"s@1": [float("nan"), float("inf")], "seconds": ["soon", "later"]}, 2),
        (GOOD | {'a"; DROP TABLE studies; --': [1.0, 2.0]}, 2),
        (GOOD | {"seed": ["one", "two"], "tags": [["x", "y"], None]}, 2),
        ({"anything": ["a"]}, 1),
        ({"recipe.steps": [], "s@1": []}, 0),
    ],
    ids=lambda value: ",".join(value)[:40] if isinstance(value, dict) else "",
)
def test_strange_columns_are_borne(own, columns, images):
    pd.DataFrame(columns).to_parquet(own / "studies" / "small" / "images.parquet")
    index = Index()
    index.refresh(own)

    entry = index.entry("small")
    assert index.fault("small") == ""
    assert entry.images == images
    rows = index.query(f"SELECT * FROM {index.table('small')}")
    assert len(rows) == images
    assert all(v == v for row in rows for v in row.values()), "no NaN"
    assert index.columns("small")[0] == "image_id"
    assert len(index.query("SELECT * FROM studies")) == 2
    index.close()


def test_odd_names_and_links_among_the_folders_are_left_out(own):
    for name in ("..hidden", "a b", "x" * 65, "-dash", "ok;drop"):
        shutil.copytree(own / "studies" / "small", own / "studies" / name)
    (own / "studies" / "file").write_text("x")
    (own / "studies" / "loop").symlink_to(own / "studies" / "loop")
    index = Index()

    assert index.refresh(own) == ["colours", "small"]
    index.close()


def test_a_study_in_two_places_is_the_local_one(own):
    far = own / "studio" / "remote"
    shutil.copytree(own / "studies" / "colours", far / "small")
    shutil.copytree(own / "studies" / "colours", far / "distant")
    index = Index()
    index.refresh(own)

    assert index.entry("small").recipes == 7
    assert index.entry("distant").recipes == 12
    index.close()


def test_a_file_keeps_the_index_and_survives_a_kill(own, tmp_path):
    file = tmp_path / "place" / "index.duckdb"
    code = f"""
        import os, signal
        from pathlib import Path
        from teststrip.studio.index import Index
        index = Index(Path({str(file)!r}))
        index.refresh(Path({str(own)!r}))
        index.query("SELECT 1")
        print(index.entry("colours").images, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    said = subprocess.run(run, capture_output=True, text=True, check=False)
    assert said.returncode == -9

    index = Index(file)
    assert index.entry("colours").images == int(said.stdout)
    assert index.refresh(own) == []
    assert len(index.query(f"SELECT * FROM {index.table('colours')}")) == int(said.stdout)
    assert set(index.rebuild(own)) == {"colours", "small"}
    index.close()
    index.close()


def test_a_locked_file_is_left_alone_and_a_damaged_one_is_made_anew(own, tmp_path, caplog):
    file = tmp_path / "index.duckdb"
    hold = f"import duckdb, sys; c = duckdb.connect({str(file)!r}); print(1, flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    index = Index(file)
    assert index.path is None
    assert "another process has it" in caplog.text
    index.refresh(own)
    assert index.entry("small").images
    index.close()
    holder.communicate("\n")

    file.write_bytes(b"no database" * 1000)
    index = Index(file)
    assert index.path == file
    assert "is made anew" in caplog.text
    index.close()
    (tmp_path / "taken").write_text("a file")
    index = Index(tmp_path / "taken" / "index.duckdb")
    assert index.path is None
    assert "kept in memory" in caplog.text
    assert index.refresh(own)
    index.close()


def test_an_index_of_another_format_is_forgotten(own, tmp_path):
    file = tmp_path / "index.duckdb"
    with duckdb.connect(str(file)) as old:
        old.execute("CREATE TABLE studies (format VARCHAR, what VARCHAR)")
        old.execute("INSERT INTO studies VALUES ('0', 'x')")
        old.execute("CREATE TABLE images_9 (x INT)")
    index = Index(file)

    assert index.entries() == []
    assert index.refresh(own)
    index.close()


def test_sql_reaches_nothing_but_the_index(index):
    for sql in ("SELECT * FROM read_csv('/etc/passwd')", "COPY studies TO '/tmp/out.csv'"):
        with pytest.raises(duckdb.Error):
            index.query(sql)


def test_a_look_that_fails_is_told_once_and_the_following_goes_on(index, own, caplog):
    looks, twice, good = [], threading.Event(), threading.Event()

    def look():
        looks.append(1)
        if len(looks) == 3:
            twice.set()
        if len(looks) < 4:
            raise StorageError("the disk is full")
        good.set()
        return []

    follower = Follower(look, 0.01)
    assert twice.wait(10)
    assert good.wait(10)
    follower.stop()
    assert [r.message for r in caplog.records].count(caplog.records[0].message) == 1


def test_queries_go_on_while_studies_are_loaded(index, own):
    """Readers see a whole table, old or new, and never an error."""
    faults, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                rows = index.query(f"SELECT count(*) AS n FROM {index.table('colours')}")
                assert rows[0]["n"] == index.entry("colours").images
            except Exception as exc:
                faults.append(exc)

    readers = [threading.Thread(target=ask) for _ in range(4)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        os.utime(own / "studies" / "colours" / "images.parquet")
        index.refresh(own)
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []
