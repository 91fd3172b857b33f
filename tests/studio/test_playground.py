"""The playground: nothing blocks, faults show at once, history is bounded, text stays text."""

import io
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from teststrip import png
from teststrip.errors import ConfigError, StudyError
from teststrip.protocols import OnProgress
from teststrip.recipe import Recipe, Request
from teststrip.records import Outcome, Progress
from teststrip.studio.playground import around, form
from teststrip.studio.playground.desk import MOST_WAITING, Desk
from teststrip.studio.playground.history import History
from teststrip.studio.playground.job import Job, new_job
from teststrip.study.load import resolve
from teststrip.testing.synthetic import SyntheticGenerator

WISH = form.Wish(Recipe(steps=4), "a red apple", (0, 1, 2))


class Slow(SyntheticGenerator):
    """Makes a model call only when it is let; a real generator otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.closed = threading.Event()
        self.calls = 0

    def generate(
        self, requests: Iterable[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Outcome]:
        for request in requests:
            for call in range(request.recipe.model_calls):
                assert self.gate.acquire(timeout=20)
                self.calls += 1
                if on_progress is not None:
                    on_progress(Progress(request, call + 1, request.recipe.model_calls))
            yield from super().generate([request])

    def close(self) -> None:
        self.closed.set()


def wait_for(is_so: Any, what: str) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end, what
        threading.Event().wait(0.005)


def finished(desk: Desk, job: Job) -> Job:
    assert desk.wait(job, timeout_s=60), f"job is still {job.state}"
    return desk.job(job.id)


def test_a_job_is_made_and_its_pictures_carry_their_settings(tmp_path: Path) -> None:
    desk = Desk(SyntheticGenerator, tmp_path)
    job = finished(desk, desk.submit(WISH))

    assert job.state == "done"
    assert sorted(made.seed for made in job.images) == [0, 1, 2]
    held = png.read(desk.history.picture(job, job.images[0].key))
    assert held.request.recipe == WISH.recipe
    assert held.request.block.prompt == "a red apple"
    desk.close()

    again = Desk(SyntheticGenerator, tmp_path)
    assert [(j.id, j.state, len(j.images)) for j in again.jobs()] == [(job.id, "done", 3)]


def test_progress_is_exact_and_cancel_ends_a_job_at_its_next_model_call(tmp_path: Path) -> None:
    slow = Slow()
    desk = Desk(lambda: slow, tmp_path)
    job, second = desk.submit(WISH), desk.submit(WISH)
    slow.gate.release(5)
    wait_for(lambda: job.calls_done == 5, "five calls")

    assert (job.calls_total, len(job.images), job.pending) == (12, 1, [1, 2])
    assert job.eta_s is not None
    assert job.eta_s > 0
    assert desk.position(second) == 1
    desk.cancel(second.id)
    desk.cancel(job.id)
    slow.gate.release(1)
    finished(desk, job)

    assert (job.state, second.state, slow.calls) == ("cancelled", "cancelled", 6)
    assert len(job.images) == 1  # what was finished stays
    slow.gate.release(100)
    assert finished(desk, desk.submit(WISH)).state == "done"  # and the generator is usable
    desk.close()
    assert slow.closed.wait(5)


def test_the_queue_is_bounded_and_a_job_under_way_cannot_be_deleted(tmp_path: Path) -> None:
    slow = Slow()
    desk = Desk(lambda: slow, tmp_path)
    first = desk.submit(WISH)
    wait_for(lambda: first.state == "running", "running")
    for _ in range(MOST_WAITING):
        desk.submit(WISH)

    with pytest.raises(ConfigError, match="jobs are waiting"):
        desk.submit(WISH)
    with pytest.raises(ConfigError, match="cancel it first"):
        desk.delete(first.id)
    for job in desk.jobs():
        desk.cancel(job.id)
    slow.gate.release(1)
    finished(desk, first)
    desk.delete(first.id)
    assert not (tmp_path / "playground" / first.id).exists()
    desk.close()


def test_a_model_that_cannot_be_opened_fails_the_job_in_words(tmp_path: Path) -> None:
    def broken() -> Any:
        raise ConfigError("no model of that name")

    desk = Desk(broken, tmp_path)
    job = finished(desk, desk.submit(WISH))

    assert (job.state, job.why) == ("failed", "no model of that name")
    with pytest.raises(ConfigError, match="without a generator"):
        Desk(None, tmp_path).submit(WISH)


def test_history_is_bounded_in_number_and_bytes_and_survives_damage(tmp_path: Path) -> None:
    history = History(tmp_path, most_jobs=3, most_bytes=1000)
    jobs = [new_job(WISH.recipe, f"prompt {k}", (0,)) for k in range(5)]
    for job in jobs:
        job.state = "done"
        history.save(job)

    assert history.too_many(jobs) == jobs[:2]
    (tmp_path / "playground" / jobs[0].id / "job.json").write_text('{"id": 3}')
    (tmp_path / "playground" / "..x").mkdir()
    (tmp_path / "playground" / "..x" / "job.json").write_text("{}")
    assert [job.prompt for job in history.load()] == ["prompt 2", "prompt 3", "prompt 4"]
    with pytest.raises(StudyError):
        history.picture(jobs[1], "../../secret")


def test_a_job_that_was_under_way_when_the_studio_ended_says_so(tmp_path: Path) -> None:
    history = History(tmp_path)
    job = new_job(WISH.recipe, "x", (1,))
    job.state = "running"
    history.save(job)

    (back,) = History(tmp_path).load()
    assert (back.state, back.why) == ("cancelled", "the studio ended before it was done")


def test_all_faults_of_a_form_are_told_at_once() -> None:
    read = form.read(
        {
            "prompt": " ",
            "seeds": "9-2",
            "steps": "0",
            "guidance": "many",
            "width": "17",
            "scheduler": "nope",
            "prompt_template": "no slot",
        }
    )

    assert read.wish is None
    assert set(read.faults) == {
        *("prompt", "seeds", "steps", "guidance", "width", "scheduler", "prompt_template")
    }
    assert read.values["guidance"] == "many"


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"prompt": "x" * 2001}, "prompt"),
        ({"seeds": "0-99"}, "seeds"),
        ({"seeds": "4294967296"}, "seeds"),
        ({"seeds": ""}, "seeds"),
        ({"steps": "151"}, "steps"),
        ({"width": "4096"}, "width"),
        ({"eta": "0.5", "scheduler": "euler"}, "eta"),
        ({"rescale": "0.5", "guidance": "1"}, "rescale"),
        ({"loras": "a\n" * 9}, "loras"),
    ],
)
def test_a_form_has_bounds(typed: dict[str, str], field: str) -> None:
    whole = form.values_of(Recipe(), "a cat", "0-3")

    assert form.read(whole).wish == form.Wish(Recipe(), "a cat", (0, 1, 2, 3))
    assert list(form.read(whole | typed).faults) == [field]


def test_a_recipe_comes_back_out_of_the_form_as_it_went_in() -> None:
    recipe = Recipe(
        model="m",
        revision="r",
        loras=[{"path": "a/b.safetensors", "scale": 0.75}, {"path": "x", "scale": -1}],
        scheduler="ddim",
        spacing="trailing",
        zero_snr=True,
        eta=0.3,
        steps=9,
        guidance=3.25,
        rescale=0.7,
        width=64,
        height=128,
        negative_prompt="blurry, text",
        prompt_template="a photo of {prompt}",
        clip_skip=1,
        dtype="fp32",
    )
    wish = form.read(form.values_of(recipe, "a cat", "5")).wish

    assert wish is not None
    assert wish.recipe == recipe


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(guidance=1, steps=1),
        Recipe(scheduler="ddim", eta=0.5),
        Recipe(scheduler="lcm", steps=4, guidance=1),
        Recipe(rescale=0.7, guidance=9),
        Recipe(scheduler="euler_karras", negative_prompt='a: "b" # c\n- d', width=512, height=512),
    ],
)
def test_the_study_around_a_recipe_can_be_run_as_it_is(recipe: Recipe) -> None:
    prompts = ["a: b", "'quoted' \"twice\" #1", "- é 猫 \u2028 \U0001f600", "{prompt: [x]}", "yes"]
    text = around.study_yaml("mine", recipe, prompts)
    config = resolve(yaml.safe_load(text), Path(), "study")

    assert [prompt.text for prompt in config.prompts.items] == prompts
    assert config.baseline_recipe == recipe
    assert config.prompts.held_out == 0.25
    assert resolve(yaml.safe_load(around.study_yaml("one", recipe, ["x"])), Path(), "s")


def test_a_draft_never_overwrites_another(tmp_path: Path) -> None:
    text = around.study_yaml("mine", Recipe(), ["a cat"])
    path = around.save(tmp_path, "mine", text)

    assert path == tmp_path / "drafts" / "mine.yaml"
    around.save(tmp_path, "mine", text)
    with pytest.raises(ConfigError, match="already"):
        around.save(tmp_path, "mine", text + "#")
    for name in ("../up", "", "a/b"):
        with pytest.raises(ConfigError):
            around.save(tmp_path, name, text)


# ---- the pages -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(home: Path) -> Iterator[Any]:
    """The real parts, with a generator that needs no model."""
    from dataclasses import replace

    from teststrip.wire.studio import opened

    with opened(home, every_s=0.2) as made:
        yield replace(made, generator=SyntheticGenerator)


def submitted(client: Any, **changes: str) -> str:
    values = form.values_of(Recipe(steps=5), "a fox in the snow", "0-1") | changes
    answer = client.post("/playground", data=values, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    job = re.search(r"job=([\w-]+)", answer.headers["location"])
    assert job is not None
    return job[1]


def done(client: Any, job: str) -> Any:
    answer: Any = None

    def is_done() -> bool:
        nonlocal answer
        answer = client.get(f"/playground/jobs/{job}")
        return 'hx-trigger="every' not in answer.text

    wait_for(is_done, "job")
    return answer


def test_a_form_becomes_a_job_that_is_polled_with_an_etag(client: Any) -> None:
    job = submitted(client)
    done(client, job)
    answer = client.get(f"/playground/jobs/{job}")
    etag = answer.headers["etag"]

    assert answer.text.count("<img") == 2
    again = client.get(f"/playground/jobs/{job}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    source = re.search(r'src="([^"]+\.png)"', answer.text)
    assert source is not None
    picture = client.get(source[1])
    assert "immutable" in picture.headers["cache-control"]
    assert Image.open(io.BytesIO(picture.content)).text["parameters"].startswith("a fox")


def test_a_wrong_form_keeps_what_was_typed_and_says_every_fault(client: Any) -> None:
    values = form.values_of(Recipe(), "keep <b>me</b>", "x") | {
        "steps": "0",
        "negative_prompt": "no",
    }
    answer = client.post("/playground", data=values)

    assert answer.status_code == 422
    assert "2 things are not right" in answer.text
    assert "keep &lt;b&gt;me&lt;/b&gt;" in answer.text
    assert answer.text.count('aria-invalid="true"') == 2


def test_without_the_token_nothing_is_made(client: Any) -> None:
    values = form.values_of(Recipe(), "a cat")
    answer = client.post("/playground", data=values, headers={"X-CSRF-Token": "wrong"})
    assert answer.status_code == 403


def test_a_form_starts_from_a_picture_a_recipe_or_a_job(client: Any, parts: Any) -> None:
    index = parts.index
    row = index.query(
        f"SELECT * FROM {index.table('colours')} WHERE status = 'ok' ORDER BY image_id LIMIT 1"
    )[0]
    image = client.get(f"/playground?study=colours&i={row['image_key']}").text
    recipe = client.get(f"/playground?study=colours&recipe={row['recipe_id']}").text

    for page in (image, recipe):
        assert re.search(f'name="steps"[^>]* value="{row["recipe.steps"]}"', page)
        assert f"<option selected>{row['recipe.scheduler']}</option>" in page
    assert f'value="{row["seed"]}"' in image
    assert "confirmed champion" in image or "leader, not confirmed" in image
    assert client.get("/playground?study=colours&recipe=nope").status_code == 404
    assert client.get("/playground?study=nope&i=x").status_code == 404
    assert client.get("/playground?job=../../etc").status_code == 404


def test_a_picture_has_its_settings_to_copy_and_a_study_around_it(client: Any, home: Path) -> None:
    job = submitted(client, prompt="a lighthouse </textarea><script>alert(1)</script>")
    answer = done(client, job)
    place = re.search(r'href="(/playground/pictures/[^"]+)"', answer.text)
    assert place is not None
    page = client.get(place[1]).text
    texts = client.get(place[1] + "/texts").json()

    assert "<script>alert" not in page
    assert "num_inference_steps=5" in texts["diffusers"]
    assert texts["a1111"].splitlines()[-1].startswith("Steps: 5")
    compile(texts["diffusers"], "snippet", "exec")
    study = client.get(f"/playground/study?job={job}").text
    assert "baseline:" in study
    assert "<script>alert" not in study
    saved = client.post(
        "/playground/study",
        data={"job": job, "name": "mine", "prompts": "one\ntwo", "action": "save"},
    )
    assert saved.status_code == 200
    assert "teststrip study plan" in saved.text
    assert (home / "drafts" / "mine.yaml").is_file()
    assert client.get("/playground/drafts/mine.yaml").text.startswith("# A study")
    bad = client.post("/playground/study", data={"job": job, "name": "../x", "action": "save"})
    assert bad.status_code == 422
    assert "../x" in bad.text
    assert not (home / "studies" / "mine").exists()  # it never starts by itself


def test_pictures_are_compared_and_deleted(client: Any) -> None:
    first, second = submitted(client), submitted(client, steps="9")
    keys = []
    for job in (first, second):
        found = re.search(r'value="([\w-]+/\w+)"', done(client, job).text)
        assert found is not None
        keys.append(found[1])
    page = client.get("/playground/compare", params={"i": keys}).text

    assert re.search(r'<th scope="row">steps</th>\s*<td>5</td><td>9</td>', page)
    assert "guidance</th>" not in page
    assert "Tick two to four" in client.get("/playground/compare").text
    assert client.get("/playground/compare", params={"i": "x/y"}).status_code == 404
    client.post(f"/playground/jobs/{first}/delete")
    assert client.get(f"/playground/jobs/{first}").status_code == 404
