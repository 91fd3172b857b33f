"""Ratings on a real store: counted once, by version, whoever sends them and however often."""

import time

import pytest

pytest.importorskip("mlflow")

from teststrip.errors import StorageError
from teststrip.recipe import Recipe
from teststrip.track.connection import Connection
from teststrip.track.ratings import EXPERIMENT, Rating, Ratings, Served
from teststrip.track.registry import Registry
from teststrip.wire.ratings import ratings as report_of

PHOTO = Served(model="photo", version="1")


def rating(picture, thumb=1, served=PHOTO, **changes):
    recipe = Recipe(steps=20, guidance=3 + int(served.version[:1], 16) % 2)
    fields = {
        "served": served,
        "job": f"{picture:032x}",
        "index": 0,
        "person": "ada",
        "thumb": thumb,
        "at": 1000.0 + picture,
        "prompt": f"a photo of a cup, number {picture % 7}",
        "seed": picture,
        "recipe_id": recipe.recipe_id,
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
    }
    return Rating(**fields | changes)


def test_ratings_come_back_and_are_counted_as_metrics(place, home):
    connection, _ = place
    mine = Served(model=f"cup-{time.time_ns()}", version="3")
    given = [rating(k, 1 if k % 4 else -1, mine) for k in range(12)]
    share = Ratings(home).add(given)[mine]

    assert (share.up, share.down, share.prompts) == (9, 3, 7)
    again = Ratings(home)
    assert again.of(mine) == given
    assert mine in again.versions()
    client = connection.client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs(
        [experiment.experiment_id], f"tags.`teststrip.model` = '{mine.model}'"
    )
    assert len(runs) == 1
    assert runs[0].data.metrics["up"] == 9
    assert runs[0].data.metrics["low"] == pytest.approx(share.low)


def test_sent_twice_is_counted_once_and_the_last_word_counts(home):
    store, other = Ratings(home), Ratings(home)
    store.add([rating(k) for k in range(5)])
    other.add([rating(k) for k in range(3, 8)])  # another process, some of the same
    store.add([rating(1, -1, at=5000), rating(2, 0, at=5000)])
    share = other.add([rating(1, 1, at=4000)])[PHOTO]  # late, and not the last word

    assert (share.up, share.down) == (6, 1)
    assert len(Ratings(home).of(PHOTO)) == 8
    assert Ratings(home).share(PHOTO) == share


def test_metrics_that_did_not_change_are_not_sent_again(home):
    store = Ratings(home)
    store.add([rating(1)])
    store.add([rating(1)])
    client = Connection(home, EXPERIMENT).client
    [run] = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert len(client.get_metric_history(run.info.run_id, "up")) == 1


def test_the_registered_version_carries_its_share(place, home):
    connection, run_id = place
    name = f"shop-{time.time_ns()}"
    files = {f"{n}.json": b"{}" for n in ("recipe", "evidence", "model")}
    Registry(connection).register(name, run_id, "r", files, {}, {})
    served = Served(model=name, version="1")
    Ratings(home).add([rating(k, served=served) for k in range(4)])

    tags = connection.client.get_model_version(name, "1").tags
    assert tags["ratings"].startswith("1.00 up (0.51 to 1.00), 4 ratings")


def test_a_recipe_changed_on_top_of_a_version_is_not_counted_for_it(place, home):
    connection, run_id = place
    name = f"shop-{time.time_ns()}"
    files = {f"{n}.json": b"{}" for n in ("recipe", "evidence", "model")}
    served = Served(model=name, version="1")
    tags = {"recipe_id": rating(1, served=served).recipe_id}
    Registry(connection).register(name, run_id, "r", files, {}, tags)
    shares = Ratings(home).add([rating(1, served=served), rating(2, -1, served, recipe_id="other")])

    assert {s.model: (t.up, t.down) for s, t in shares.items()} == {
        name: (1, 0),
        f"recipe {name}, changed": (0, 1),
    }


def test_recipes_without_a_registry_are_rated_too(home):
    plain = Served(model="recipe default", version="a1b2c3")
    Ratings(home).add([rating(1, served=plain), rating(2, -1, Served(model="gone", version="9"))])
    found = report_of(home)

    assert [(r.served.model, r.served.is_registered) for r in found.rated] == [
        ("gone", True),
        ("recipe default", False),
    ]


def test_the_report_compares_versions(home):
    older, newer = PHOTO, Served(model="photo", version="10")
    store = Ratings(home)
    store.add([rating(k, 1 if k % 2 else -1, older, prompt=f"p{k}") for k in range(40)])
    store.add([rating(100 + k, 1 if k % 10 else -1, newer, prompt=f"q{k}") for k in range(40)])
    found = report_of(home, "photo")

    assert [r.served.version for r in found.rated] == ["10", "1"]
    assert found.rated[0].gain.verdict == "better"
    assert found.rated[0].before == "1"
    assert "photo version 10: 0.90 up" in str(found)
    told = found.as_dict()["versions"]
    assert told[0]["difference"]["low"] > 0
    assert told[1]["difference"] is None
    assert report_of(home, "other").as_dict()["versions"] == []
    assert str(report_of(home, "other")).startswith("No ratings yet in sqlite:///")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_table_is_read_by_study_analyze(home, tmp_path, kind):
    pytest.importorskip("pandas")
    from teststrip.evidence.roles import Given
    from teststrip.wire.analysing import Wishes, analyse_table

    older, newer = PHOTO, Served(model="photo", version="2")
    store = Ratings(home)
    for served, share in ((older, 3), (newer, 8)):
        store.add(
            [
                rating(
                    k,
                    1 if (k * 7) % 10 < share else -1,
                    served,
                    job=f"{served.version}{k:031x}",
                    prompt=f"a {'red' if k % 2 else 'blue'} cup number {k // 2}",
                    seed=k % 2,
                )
                for k in range(24)
            ]
            + [rating(900, 0, served, job=f"{served.version}{900:031x}")]
        )
    path = tmp_path / f"rated.{kind}"
    assert report_of(home).write(path) == 48

    analysed = analyse_table(path, Given(), Wishes())
    text = str(analysed)
    assert "guidance" in text
    assert "2 recipes" in text


def test_one_word_on_many_pictures_of_one_place_is_one_row(home, tmp_path):
    pd = pytest.importorskip("pandas")
    Ratings(home).add([rating(1, 1), rating(2, -1, seed=1, prompt=rating(1).prompt)])
    report_of(home).write(tmp_path / "t.parquet")
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert list(table["score"]) == [0.5]


def test_what_cannot_be_written_is_told(home, tmp_path):
    Ratings(home).add([rating(1)])
    found = report_of(home)
    with pytest.raises(StorageError):
        found.write(tmp_path / "nowhere" / "t.csv")
    from teststrip.errors import ConfigError

    with pytest.raises(ConfigError, match=r"\.parquet or \.csv"):
        found.write(tmp_path / "t.xlsx")


def test_a_dead_server_is_one_clear_message(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StorageError, match="MLflow at http://127"):
        Ratings(home).add([rating(1)])
