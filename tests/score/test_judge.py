"""The judge against a real HTTP server that speaks /v1/chat/completions."""

import base64
import email.utils
import io
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from teststrip import Generation
from teststrip.errors import ConfigError, ModelError
from teststrip.protocols import Scorer
from teststrip.score.judge import JudgeScorer, read_score
from teststrip.testing.conformance import ScorerConformance

Make = Callable[..., Generation]
KEY = "sk-very-secret-1234"
Reply = tuple[int, dict[str, str], bytes]


def said(text: Any, status: int = 200, **headers: str) -> Reply:
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return (
        status,
        {name.replace("_", "-"): v for name, v in headers.items()},
        json.dumps(body).encode(),
    )


@dataclass
class Endpoint:
    """A chat endpoint whose next replies are given; after them it answers {"score": 7}."""

    replies: list[Reply] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    delay_s: float = 0.0
    answer: Callable[[dict[str, Any]], Reply] = lambda body: said('{"score": 7}')
    url: str = ""
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state.lock:
                state.asked.append((self.path, dict(self.headers), body))
                state.busy += 1
                state.busiest = max(state.busiest, state.busy)
                reply = state.replies.pop(0) if state.replies else None
            time.sleep(state.delay_s)
            status, headers, data = reply or state.answer(body)
            with state.lock:
                state.busy -= 1
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client gave up waiting

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def judge(endpoint: Endpoint, **options: Any) -> JudgeScorer:
    return JudgeScorer(**{"base_url": endpoint.url, "model": "eye-7b", "max_wait_s": 2.0} | options)


def value(scorer: JudgeScorer, generation: Generation) -> float:
    return scorer.score([generation])[0][scorer.column]


class TestJudgeAsScorer(ScorerConformance):
    """The shared laws, for a judge that always answers the same question alike."""

    @pytest.fixture
    def scorer(self, endpoint: Endpoint) -> JudgeScorer:
        endpoint.answer = lambda body: said(json.dumps({"score": len(str(body)) % 101 / 10}))
        return judge(endpoint)

    @pytest.fixture
    def generations(self, make: Make) -> list[Generation]:
        return [make(seed=seed) for seed in range(3)]


def test_it_asks_for_a_number_and_reads_it(endpoint: Endpoint, make: Make) -> None:
    endpoint.replies = [said('```json\n{"score": 8.5}\n```')]
    scorer = judge(endpoint, base_url=endpoint.url + "/")

    assert isinstance(scorer, Scorer)
    assert value(scorer, make(prompt="a red apple")) == 8.5
    path, _, body = endpoint.asked[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"]) == ("eye-7b", 0)
    assert body["messages"][1]["content"][0]["text"] == "The prompt:\na red apple"


def test_the_picture_is_sent_and_its_settings_are_not(endpoint: Endpoint, make: Make) -> None:
    generation = make(seed=3, model="/home/someone/secret-model", negative_prompt="blurry")

    value(judge(endpoint), generation)

    url = endpoint.asked[0][2]["messages"][1]["content"][1]["image_url"]["url"]
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    sent = Image.open(io.BytesIO(data))
    assert sent.info == {}
    assert b"secret-model" not in data
    assert sent.tobytes() == Image.open(io.BytesIO(generation.png)).tobytes()


def test_large_pictures_are_scaled_down(endpoint: Endpoint, make: Make) -> None:
    value(judge(endpoint, max_side=64), make(Image.new("RGB", (400, 200), "red")))

    url = endpoint.asked[0][2]["messages"][1]["content"][1]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert sent.size == (64, 32)


def test_answers_come_back_in_order_and_no_more_than_the_limit_at_once(
    endpoint: Endpoint, make: Make
) -> None:
    endpoint.delay_s = 0.03
    endpoint.answer = lambda body: said(
        json.dumps({"score": len(body["messages"][1]["content"][0]["text"]) - 12})
    )
    scorer = judge(endpoint, concurrency=3)

    scores = scorer.score([make(prompt="x" * n) for n in range(1, 10)])

    assert [s[scorer.column] for s in scores] == list(range(1, 10))
    assert 2 <= endpoint.busiest <= 3


@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_as_told_and_asks_again(status: int, endpoint: Endpoint, make: Make) -> None:
    endpoint.replies = [said("later", status, Retry_After="1")]
    begun = time.monotonic()

    assert value(judge(endpoint), make()) == 7
    assert 1.0 <= time.monotonic() - begun < 1.9
    assert len(endpoint.asked) == 2


def test_retry_after_may_be_a_date(endpoint: Endpoint, make: Make) -> None:
    date = email.utils.formatdate(time.time() + 2, usegmt=True)
    endpoint.replies = [said("later", 503, Retry_After=date)]
    begun = time.monotonic()

    assert value(judge(endpoint, max_wait_s=5), make()) == 7
    assert 0.5 <= time.monotonic() - begun < 3


def test_a_wait_beyond_the_limit_is_not_waited_for(
    endpoint: Endpoint, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [said("closed", 429, Retry_After="86400")]
    begun = time.monotonic()

    assert math.isnan(value(judge(endpoint), make()))
    assert time.monotonic() - begun < 1
    assert "HTTP 429" in caplog.text


def test_tries_are_bounded_and_the_next_picture_is_judged(
    endpoint: Endpoint, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [said("", 500, Retry_After="0")] * 3
    scorer = judge(endpoint, retries=2, concurrency=1)

    first, second = scorer.score([make(seed=1), make(seed=2)])

    assert math.isnan(first[scorer.column])
    assert second[scorer.column] == 7
    assert "picture key1: no answer after 3 tries; last: HTTP 500" in caplog.text


def test_a_server_that_is_too_slow_or_away_gives_nan(
    endpoint: Endpoint, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.delay_s = 0.5
    slow = judge(endpoint, timeout_s=0.05, retries=0)
    away = JudgeScorer(base_url="http://127.0.0.1:9/v1", model="eye-7b", retries=0)

    assert math.isnan(value(slow, make()))
    assert math.isnan(value(away, make()))
    assert "ReadTimeout" in caplog.text
    assert "ConnectError" in caplog.text


@pytest.mark.parametrize(
    "reply",
    [
        said("I like it very much"),
        said('{"score": "high"}'),
        said('{"score": 11}'),
        said('{"score": true}'),
        said('{"score": NaN}'),
        said('{"mark": 3}'),
        said(None),
        (200, {}, b"<html>"),
        (200, {}, b'{"choices": []}'),
        (200, {}, b"{" + b" " * 1_100_000 + b"}"),
        said("content policy", 400),
    ],
    ids=range(11),
)
def test_an_answer_without_a_usable_number_is_nan_with_a_reason(
    reply: Reply, endpoint: Endpoint, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [reply]

    assert math.isnan(value(judge(endpoint), make()))
    assert "picture key0: " in caplog.text
    assert len(endpoint.asked) == 1


def test_the_last_score_counts_when_the_model_thinks_aloud() -> None:
    assert read_score('first {"score": 3}, but no: {"score": 5, "why": "hands"} done') == 5


@pytest.mark.parametrize(("status", "what"), [(401, "the key"), (404, "the address or the model")])
def test_a_refused_set_up_stops_the_study_rather_than_filling_it_with_nan(
    status: int, what: str, endpoint: Endpoint, make: Make
) -> None:
    endpoint.answer = lambda body: said("no", status)

    with pytest.raises(ModelError, match=f"refused {what}"):
        judge(endpoint).score([make(seed=seed) for seed in range(20)])
    assert len(endpoint.asked) < 20


def test_the_key_comes_from_the_environment_and_is_never_written(
    endpoint: Endpoint,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TESTSTRIP_JUDGE_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    endpoint.replies = [said(f"overloaded, {KEY}", 500, Retry_After="0")]
    endpoint.answer = lambda body: said(f"{KEY} is not allowed", 401)
    scorer = judge(endpoint)

    with pytest.raises(ModelError) as caught:
        scorer.score([make()])

    assert endpoint.asked[0][1]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text
    assert KEY not in repr(scorer.options) + repr(vars(scorer))


def test_another_variable_may_hold_the_key_and_must_then_be_set(
    endpoint: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_JUDGE", KEY)

    value(judge(endpoint, api_key_env="MY_JUDGE"), make())

    assert endpoint.asked[0][1]["Authorization"] == f"Bearer {KEY}"
    with pytest.raises(ConfigError, match="NOT_THERE is not set"):
        judge(endpoint, api_key_env="NOT_THERE")


def test_without_a_key_none_is_sent(
    endpoint: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TESTSTRIP_JUDGE_API_KEY", raising=False)

    value(judge(endpoint), make())

    assert "Authorization" not in endpoint.asked[0][1]


def test_a_key_that_would_travel_in_clear_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TESTSTRIP_JUDGE_API_KEY", KEY)

    JudgeScorer(base_url="https://judge.example/v1", model="m")
    JudgeScorer(base_url="http://127.0.0.1:1/v1", model="m")
    assert "unencrypted" not in caplog.text
    JudgeScorer(base_url="http://judge.example/v1", model="m")
    assert "unencrypted" in caplog.text


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"base_url": "ftp://x"}, "http or https"),
        ({"base_url": "http://me:pass@x/v1"}, "must hold no key"),
        ({"base_url": "https://x/v1?key=1"}, "must hold no key"),
        ({"model": ""}, "model"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"concurrency": 1000}, "concurrency"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        JudgeScorer(**{"base_url": "http://x/v1", "model": "m"} | options)


def test_the_column_follows_model_and_rubric(endpoint: Endpoint) -> None:
    plain, other = judge(endpoint), judge(endpoint, rubric='Only hands. {"score": N}')

    assert plain.columns == {plain.column: True}
    assert plain.column.startswith("judge:eye-7b@")
    assert plain.column == judge(endpoint, timeout_s=5).column
    assert plain.column != other.column


def test_a_torn_picture_is_nan_and_is_not_sent(endpoint: Endpoint, torn: Generation) -> None:
    assert math.isnan(value(judge(endpoint), torn))
    assert endpoint.asked == []
