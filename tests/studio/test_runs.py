"""/runs: a training run in a folder (docs/runs-format.md) or in MLflow, by checkpoint."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from starlette.testclient import TestClient

from teststrip.studio.app import create_app
from teststrip.studio.runs.run import open_run
from teststrip.studio.runs.scores import standings
from teststrip.wire.studio import parts

STEPS = (0, 100, 200, 300)
PROMPTS = {"fox-1": "a <i>fox</i> in the snow", "owl": "an owl", "cup": "a cup"}
SEEDS = (0, 7)


def png(colour) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "PNG")
    return out.getvalue()


def score(step: int, prompt: int, seed: int) -> float:
    return 0.5 + step / 1000 + prompt / 10 + seed / 100 + (step > 0) * (prompt - 1) / 50


def write_run(folder: Path, **changes) -> Path:
    """A small finished run with real pictures and known scores."""
    head = {
        "format": 1,
        "state": "finished",
        "kind": "lora",
        "created": "2026-11-21T10:00:00+00:00",
        "steps": 300,
        "base": {"model": "builtin", "revision": "abc"},
        "prompts": PROMPTS,
        "scores": {"clip@1": True, "noise@1": False},
        "selected": {"step": 200, "why": "lowest held-out loss"},
    } | changes
    rows = []
    for step in STEPS:
        place = folder / "samples" / str(step)
        place.mkdir(parents=True)
        for k, prompt_id in enumerate(PROMPTS):
            for seed in SEEDS:
                (place / f"{prompt_id}-{seed}.png").write_bytes(png((step // 2, 80 * k, 30 * seed)))
                value = score(step, k, seed)
                path = f"samples/{step}/{prompt_id}-{seed}.png"
                rows.append((step, prompt_id, PROMPTS[prompt_id], seed, path, value, value))
    names = ["step", "prompt_id", "prompt", "seed", "png", "clip@1", "noise@1"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "samples.parquet")
    lines = [{"step": s, "loss": 1 / (s + 10), "lr": 1e-4} for s in range(0, 301, 5)]
    lines += [{"step": s, "val_loss": 1 / (s + 5)} for s in STEPS]
    lines += [{"step": 300, "grad": None}, {"step": 5, "loss": 9.0}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 305, "lo')
    (folder / "run.json").write_text(json.dumps(head))
    return folder


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path


@pytest.fixture
def client(home):
    made = parts(home, in_memory=True)
    with TestClient(create_app(made), base_url="http://127.0.0.1") as client:
        client.headers["accept"] = "text/html"
        yield client
    made.pictures.close()
    made.index.close()


def test_the_empty_page_says_how_to_train_and_what_is_read(client):
    page = client.get("/runs").text

    assert "No training runs are here yet" in page
    assert "teststrip train run FILE" in page
    assert "run.json" in page
    assert "runs-recorded" not in page  # no store here, so nobody is asked


def test_a_run_is_read_with_its_curves_and_the_base_model_first(home):
    write_run(home / "runs/foxes")

    run = open_run(home, "foxes")

    assert run.checkpoints == list(STEPS)
    assert run.places == [(p, s) for p in PROMPTS for s in SEEDS]
    assert len(run.samples) == len(STEPS) * len(PROMPTS) * len(SEEDS)
    assert set(run.curves) == {"loss", "lr", "val_loss"}
    assert run.curves["loss"][:2] == [(0, 0.1), (5, 9.0)]  # the later line of a step counts
    assert run.curves["loss"][-1][0] == 300  # the torn line is left out
    assert run.at(100)["fox-1", 7].scores == {
        c: pytest.approx(score(100, 0, 7)) for c in ("clip@1", "noise@1")
    }


def test_scores_have_prompts_as_units_and_the_base_model_as_measure(home):
    write_run(home / "runs/foxes")

    found = standings(open_run(home, "foxes"))

    up, down = found[200]
    gains = np.array([score(200, k, 0) - score(0, k, 0) for k in range(3)])
    low, high = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains))
    assert (up.images, up.pairs, up.mean.units) == (6, 6, 3)
    assert (up.gain.mean, up.gain.low, up.gain.high) == pytest.approx((gains.mean(), low, high))
    assert down.gain.mean == pytest.approx(-up.gain.mean)  # lower noise is better
    assert (up.verdict, down.verdict) == ("better", "worse")
    assert found[0][0].gain is None


def test_the_page_shows_images_scores_and_curves_of_a_checkpoint(client, home):
    write_run(home / "runs/foxes")

    chosen = client.get("/runs/foxes").text
    asked = client.get("/runs/foxes?step=100").text
    beyond = client.get("/runs/foxes?step=12345").text

    assert 'data-now="200"' in chosen
    assert 'data-now="200"' in beyond
    assert 'data-now="100"' in asked
    assert "/runs/foxes/samples/100/fox-1-7.webp?v=" in asked
    assert "/runs/foxes/samples/0/fox-1-7.webp?v=" in asked
    assert "6, 3" in asked
    assert "a &lt;i&gt;fox&lt;/i&gt;" in asked
    assert "<i>fox" not in asked
    assert asked.count("<polyline") == 4  # loss with its moving mean, val_loss, lr
    assert 'href="?step=200"' in asked
    assert "foxes" in client.get("/runs").text


def test_a_decision_is_shown_with_what_it_rests_on_also_where_it_is_a_refusal(client, home):
    folder = write_run(home / "runs/foxes")
    told = {
        "step": 200,
        "why": "lowest",
        "notes": ["p <b>0.01</b>, 9 pictures"],
        "answer": [100, 200],
    }
    (folder / "select.json").write_text(json.dumps(told))

    chosen = client.get("/runs/foxes").text
    assert "p &lt;b&gt;0.01&lt;/b&gt;, 9 pictures" in chosen
    assert chosen.count('class="chip">as good') == 1
    refusal = {"step": None, "why": "No checkpoint is chosen: too few prompts.", "answer": []}
    (folder / "select.json").write_text(json.dumps(refusal))
    assert "No checkpoint is chosen: too few prompts." in client.get("/runs/foxes").text
    (folder / "select.json").write_text('["damaged"]')
    assert client.get("/runs/foxes").status_code == 200


def test_moving_losses_are_among_the_losses_and_scores_are_not_drawn_twice(client, home):
    folder = write_run(home / "runs/foxes")
    lines = [{"step": s, "loss_ema": 0.4, "val_loss": 0.5, "clip@1": 0.5} for s in (0, 100)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)

    page = client.get("/runs/foxes?step=0").text

    assert page.count("<polyline") == 2
    base = page[page.index('<tr data-step="0"') :].partition("</tr>")[0]
    assert base.count("0.5</td>") == 1  # the held-out loss of the base model


def test_images_come_whole_and_small_and_only_those_of_the_run(client, home):
    folder = write_run(home / "runs/foxes")
    (home / "secret-1.png").write_bytes(png("red"))
    (folder / "samples/100/stolen-1.png").symlink_to(home / "secret-1.png")
    (folder / "samples/100/notes.txt").write_text("no picture")

    whole = client.get("/runs/foxes/samples/100/fox-1-7.png")
    small = client.get("/runs/foxes/samples/100/fox-1-7.webp")

    assert whole.content == (folder / "samples/100/fox-1-7.png").read_bytes()
    assert "immutable" in small.headers["cache-control"]
    assert Image.open(io.BytesIO(small.content)).format == "WEBP"
    for path in (
        "100/stolen-1.png",
        "100/notes.txt",
        "100/fox-1-8.png",
        "9/fox-1-7.png",
        "100/fox-1-7.gif",
        "100/..%2f..%2frun.json",
        "100/fox-1-x.png",
    ):
        assert client.get(f"/runs/foxes/samples/{path}").status_code == 404, path
    addresses = client.get("/runs/foxes/samples.json").json()["steps"]
    assert list(addresses) == [str(s) for s in STEPS]
    assert client.get(addresses["300"]["owl-0"]).status_code == 200


def test_a_broken_picture_is_shown_as_one_and_the_rest_works(client, home):
    folder = write_run(home / "runs/foxes")
    (folder / "samples/100/owl-0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")

    broken = client.get("/runs/foxes/samples/100/owl-0.webp")

    assert broken.headers["content-type"].startswith("image/svg+xml")
    assert broken.headers["cache-control"] == "no-store"
    assert client.get("/runs/foxes?step=100").status_code == 200


def test_pictures_without_scores_or_base_are_shown_as_far_as_they_go(client, home):
    folder = write_run(home / "runs/bare", scores={}, selected=None)
    (folder / "samples.parquet").write_bytes(b"no parquet")
    (folder / "metrics.jsonl").unlink()
    for path in (folder / "samples/0").iterdir():
        path.unlink()

    page = client.get("/runs/bare").text

    assert 'data-now="300"' in page
    assert "what training changed" in page
    assert "Scores by checkpoint" not in page
    assert "Nothing was logged yet" in page


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "state": "finished"}', '{"format": 1}'])
def test_a_run_that_cannot_be_read_says_so(client, home, text):
    write_run(home / "runs/good")
    (home / "runs/bad").mkdir()
    (home / "runs/bad/run.json").write_text(text)

    listed = client.get("/runs")
    assert "run.json" in listed.text
    assert "good" in listed.text
    assert client.get("/runs/bad").status_code == 404
    assert client.get("/runs/nobody").status_code == 404
    assert client.get("/runs/..%2f..%2fetc").status_code == 404


def test_a_run_that_is_only_in_mlflow_is_listed_and_copied(client, home, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from teststrip.track.connection import Connection

    folder = write_run(tmp_path / "elsewhere")
    connection = Connection(home)
    tags = {"teststrip.kind": "training", "teststrip.run": "remote-foxes"}
    run = connection.client.create_run(connection.experiment_id, tags=tags)
    for part in ("run.json", "samples.parquet"):
        connection.client.log_artifact(run.info.run_id, str(folder / part))
    connection.client.log_artifacts(run.info.run_id, str(folder / "samples"), "samples")
    for step in STEPS:
        connection.client.log_metric(run.info.run_id, "val_loss", 1 / (step + 5), step=step)

    assert "runs-recorded" in client.get("/runs").text
    assert "remote-foxes" in client.get("/runs-recorded").text
    token = {"X-CSRF-Token": client.cookies["teststrip_csrf"]}
    page = client.post("/runs/remote-foxes/bring", headers=token)
    assert page.url.path == "/runs/remote-foxes"
    assert "step 200" in page.text
    copied = open_run(home, "remote-foxes")
    assert len(copied.samples) == len(STEPS) * len(PROMPTS) * len(SEEDS)
    assert copied.curves == {"val_loss": [(s, pytest.approx(1 / (s + 5))) for s in STEPS]}
    assert standings(copied)[200][0].verdict == "better"
    assert "remote-foxes" not in client.get("/runs-recorded").text
    assert client.post("/runs/nobody/bring", headers=token).status_code == 404


def test_a_tracking_server_that_is_down_is_said_and_the_page_stands(client, home, monkeypatch):
    write_run(home / "runs/foxes")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    assert "foxes" in client.get("/runs").text
    part = client.get("/runs-recorded")
    assert part.status_code == 200
    assert "MLflow has no answer" in part.text
