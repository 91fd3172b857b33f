"""A client that asks again gets its first job; one that is gone leaves none running."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

PATH = "/v1/images/generations"


def generate(service, **options):
    return service.client(**options).images.generate(prompt="a mug")


def test_the_clients_own_retry_after_its_time_limit_waits_for_the_same_job(live):
    with live(step_s=0.4) as service:
        answer = generate(service, timeout=1, max_retries=5)

        assert [job.state for job in service.jobs()] == ["done"]
        assert answer.teststrip["job"] == service.jobs()[0].id


def test_without_a_retry_counter_the_same_words_are_another_picture(live):
    with live() as service:
        generate(service)
        generate(service)

        assert len(service.jobs()) == 2


def test_a_retry_with_other_words_is_a_new_job(live):
    with live() as service, httpx.Client(base_url=service.url) as client:
        headers = {"x-stainless-retry-count": "1"}
        generate(service)
        client.post(PATH, json={"prompt": "a cup"}, headers=headers, timeout=None)

        assert sorted(job.prompt for job in service.jobs()) == ["a cup", "a mug"]


def test_a_retry_after_a_failed_job_is_a_new_one(live):
    with live() as service, httpx.Client(base_url=service.url, timeout=None) as client:
        for retry in range(2):
            headers = {"x-stainless-retry-count": str(retry)}
            assert client.post(PATH, json={"prompt": "FAULT"}, headers=headers).status_code == 500

        assert [job.state for job in service.jobs()] == ["failed", "failed"]


def test_an_idempotency_key_is_one_job_for_ever_and_for_one_body(live):
    with live() as service:
        client = service.client(default_headers={"Idempotency-Key": "order 17"})

        first = client.images.generate(prompt="a mug")
        again = client.images.generate(prompt="a mug")
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.images.generate(prompt="a cup")

        assert first.data[0].b64_json == again.data[0].b64_json
        assert len(service.jobs()) == 1
        assert caught.value.code == "idempotency_key_reused"


def test_two_who_ask_at_once_with_one_key_share_the_job(live):
    with live(step_s=0.05) as service, ThreadPoolExecutor(4) as pool:
        client = service.client(default_headers={"Idempotency-Key": "order 17"})
        asked = [pool.submit(client.images.generate, prompt="a mug") for _ in range(4)]

        assert len({one.result().data[0].b64_json for one in asked}) == 1
        assert len(service.jobs()) == 1


def gone(service, **headers):
    """A client that hangs up after a moment."""
    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.3) as client:
        client.post(service.url + PATH, json={"prompt": "a mug"}, headers=headers)


def test_a_job_whose_client_is_gone_for_good_is_cancelled(live):
    with live(step_s=0.5) as service:
        service.app.state.watch.grace_s = 0.2
        gone(service)

        job = service.until(lambda jobs: jobs and jobs[0].is_ended)[0]
        assert job.state == "cancelled"
        assert job.images == ()


def test_a_job_with_an_idempotency_key_goes_on_without_its_client(live):
    with live(step_s=0.2) as service:
        service.app.state.watch.grace_s = 0.0
        gone(service, **{"Idempotency-Key": "order 17"})

        assert service.until(lambda jobs: jobs[0].is_ended)[0].state == "done"


def test_a_client_that_came_back_keeps_its_job(live):
    with live(worker=False) as service:
        service.app.state.watch.grace_s = 0.4
        gone(service)
        answers = []

        def come_back():
            with httpx.Client(timeout=None) as client:
                headers = {"x-stainless-retry-count": "1"}
                answers.append(
                    client.post(service.url + PATH, json={"prompt": "a mug"}, headers=headers)
                )

        waiting = threading.Thread(target=come_back)
        waiting.start()
        began = time.monotonic()  # longer than the grace: nobody may have cancelled it meanwhile
        service.until(lambda jobs: time.monotonic() - began > 1.0)
        assert [job.state for job in service.jobs()] == ["queued"]
        assert not service.jobs()[0].cancel_asked
        service.cancel(service.jobs()[0])
        waiting.join()

    assert answers[0].json()["error"]["code"] == "job_cancelled"
    assert answers[0].headers["x-should-retry"] == "false"


def test_what_takes_longer_than_the_limit_is_told_so_and_may_be_waited_for_again(live):
    with live(worker=False, openai_timeout_s=1) as service:
        with pytest.raises(openai.InternalServerError) as caught:
            generate(service)

        assert caught.value.status_code == 504
        assert caught.value.response.headers["x-should-retry"] == "true"
        assert [job.state for job in service.jobs()] == ["queued"]
