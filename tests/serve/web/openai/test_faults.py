"""Faults are OpenAI's objects with its codes, and its client raises the right class."""

import httpx
import openai
import pytest

from teststrip.serve.web.keys import KeyRing

FAULTS = [
    ({}, "prompt", "missing_required_parameter", "Missing required parameter: 'prompt'."),
    ({"prompt": ""}, "prompt", "empty_string", "Expected a string with minimum length 1"),
    ({"prompt": "x" * 8001}, "prompt", "string_above_max_length", "maximum length 8000"),
    ({"prompt": "x" * 2001}, "prompt", "invalid_value", "at most 2000"),
    ({"prompt": " \n"}, "prompt", "invalid_value", "blank"),
    ({"prompt": 5}, "prompt", "invalid_type", "expected a string, but got an integer instead"),
    ({"prompt": "x", "n": "2"}, "n", "invalid_type", "expected an integer, but got a string"),
    ({"prompt": "x", "n": True}, "n", "invalid_type", "but got a boolean instead"),
    ({"prompt": "x", "n": 11}, "n", "integer_above_max_value", "<= 10, but got 11 instead"),
    ({"prompt": "x", "n": 0}, "n", "integer_below_min_value", ">= 1, but got 0 instead"),
    ({"prompt": "x", "size": "big"}, "size", "invalid_value", "WIDTHxHEIGHT"),
    ({"prompt": "x", "size": "4096x4096"}, "size", "invalid_value", "at most 1048576 pixels"),
    ({"prompt": "x", "size": "100x101"}, "size", "invalid_value", "multiple of 8"),
    ({"prompt": "x", "quality": "hd"}, "quality", "invalid_value", "'auto' and 'standard'"),
    ({"prompt": "x", "output_format": "gif"}, "output_format", "invalid_value", "'png', 'jpeg', a"),
    ({"prompt": "x", "nn": 1}, "nn", "unknown_parameter", "Unknown parameter: 'nn'."),
    ({"prompt": "x", "seed": 2**32}, "seed", "integer_above_max_value", "<= 4294967295"),
    ({"prompt": "x", "num_inference_steps": 999}, "num_inference_steps", "invalid_value", "150"),
    ({"prompt": "x", "guidance_scale": 101.5}, "guidance_scale", "decimal_above_max_value", "100"),
    ({"prompt": "x", "scheduler": "magic"}, "scheduler", "invalid_value", "unknown noise"),
    ({"prompt": "x", "partial_images": 2}, "partial_images", "invalid_value", "'stream'"),
    ({"prompt": "x", "stream": True, "n": 2}, "n", "invalid_value", "one picture"),
    ({"prompt": "x", "output_compression": 5}, "output_compression", "invalid_value", "'jpeg'"),
]


def test_each_fault_has_its_message_parameter_and_code(live):
    with live(worker=False) as service, httpx.Client(base_url=service.url) as client:
        for body, param, code, words in FAULTS:
            answer = client.post("/v1/images/generations", json=body)

            assert answer.status_code == 400, (body, answer.text)
            assert set(answer.json()) == {"error"}
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            told = (error["type"], error["param"], error["code"])
            assert told == ("invalid_request_error", param, code), error
            assert words in error["message"]
            assert answer.headers["x-request-id"].startswith("req_")
        assert service.jobs() == []


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"[1]", b'"x"', b'{"prompt": "\\ud800"}', b'{"\\ud800": 1}', b"\xff", b"[" * 99999],
)
def test_what_is_no_usable_json_is_refused_in_the_same_shape(live, body):
    with live(worker=False) as service:
        answer = httpx.post(
            f"{service.url}/v1/images/generations",
            content=body,
            headers={"content-type": "application/json"},
        )

        assert answer.status_code in {400, 413}
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_other_faults_of_the_path_have_the_shape_too(live):
    with live(worker=False) as service, httpx.Client(base_url=service.url) as client:
        wanted = {
            404: client.get("/v1/other"),
            405: client.get("/v1/images/generations"),
            415: client.post("/v1/images/generations", content=b"prompt=x"),
            413: client.post("/v1/images/generations", content=b"x" * 100_000),
        }

        for status, answer in wanted.items():
            assert answer.status_code == status
            assert answer.json()["error"]["type"] == "invalid_request_error"
        message = wanted[404].json()["error"]["message"]
        assert message == "Invalid URL (GET /v1/other)"


def test_a_model_that_is_not_there(live):
    with live(worker=False) as service, pytest.raises(openai.NotFoundError) as caught:
        service.client().images.generate(prompt="x", model="dall-e-3")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


def test_keys_are_asked_for_and_never_shown_whole(live, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("shop")
    wrong = "sk-0123456789abcdefghijklmnop"
    with live(keys=ring) as service:
        with pytest.raises(openai.AuthenticationError) as caught:
            service.client(api_key=wrong).images.generate(prompt="x")
        assert caught.value.code == "invalid_api_key"
        assert wrong not in caught.value.message
        assert service.client(api_key=secret).images.generate(prompt="x").data[0].b64_json


def test_a_key_over_its_rate_is_told_when_to_come_back(live, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("shop", per_minute=1)
    with live(keys=ring) as service:
        client = service.client(api_key=secret)
        client.images.generate(prompt="x")
        with pytest.raises(openai.RateLimitError) as caught:
            client.images.generate(prompt="y")
        assert caught.value.code == "rate_limit_exceeded"
        assert int(caught.value.response.headers["retry-after"]) > 1


def test_a_picture_that_cannot_be_made_is_told_with_its_reason_and_not_tried_again(live):
    with live() as service:
        with pytest.raises(openai.InternalServerError) as caught:
            service.client(max_retries=3).images.generate(prompt="FAULT")
        assert "NaN or infinite" in caught.value.message
        assert caught.value.code == "generation_failed"
        assert len(service.jobs()) == 1
