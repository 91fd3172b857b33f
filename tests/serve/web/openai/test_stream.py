"""Server-sent events: partial images are real previews of the engine, the last is the picture."""

import base64
import io

import httpx
import openai
import pytest
from PIL import Image

from teststrip import png

PATH = "/v1/images/generations"


def events_of(service, **options):
    with service.client().images.generate(prompt="a mug", stream=True, **options) as stream:
        return list(stream)


def picture(event):
    return Image.open(io.BytesIO(base64.b64decode(event.b64_json)))


def test_partial_images_come_before_the_whole_one(live):
    with live(step_s=0.1, preview_every_s=0.05) as service:
        events = events_of(
            service, partial_images=2, extra_body={"seed": 3, "num_inference_steps": 20}
        )

        *partial, last = events
        assert last.type == "image_generation.completed"
        assert png.read(base64.b64decode(last.b64_json)).request.block.seed == 3
        assert (last.size, last.output_format, last.usage.total_tokens) == ("64x64", "png", 0)
        assert {event.type for event in partial} == {"image_generation.partial_image"}
        assert [event.partial_image_index for event in partial] == list(range(len(partial)))
        assert 1 <= len(partial) <= 2
        for event in partial:
            assert picture(event).format == "PNG"
            assert event.b64_json != last.b64_json


def test_without_partial_images_one_event_holds_the_picture(live):
    with live() as service:
        events = events_of(service, output_format="webp")

        assert [event.type for event in events] == ["image_generation.completed"]
        assert picture(events[0]).format == "WEBP"


def test_a_fault_under_way_ends_the_stream_with_its_reason(live):
    with live() as service, pytest.raises(openai.APIError, match="NaN or infinite") as caught:
        list(service.client().images.generate(prompt="FAULT", stream=True))
    assert caught.value.code == "generation_failed"


def test_a_fault_before_it_begins_is_an_ordinary_answer(live):
    with live(worker=False) as service, pytest.raises(openai.BadRequestError) as caught:
        service.client().images.generate(prompt="", stream=True)
    assert caught.value.param == "prompt"


def test_a_stream_that_is_left_ends_its_job(live):
    with live(step_s=0.2) as service:
        service.app.state.watch.grace_s = 0.1
        body = {"prompt": "a mug", "stream": True, "num_inference_steps": 50}
        with httpx.Client() as client, client.stream("POST", service.url + PATH, json=body) as got:
            assert got.headers["content-type"].startswith("text/event-stream")
            assert got.headers["cache-control"] == "no-store"

        job = service.until(lambda jobs: jobs[0].is_ended)[0]
        assert job.state == "cancelled"
