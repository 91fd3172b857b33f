"""The fleet as a generator: a live web and worker of one process, asked over HTTP."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from teststrip import png
from teststrip.errors import ConfigError, GenerationError
from teststrip.recipe import Block, Lora, Recipe, Request
from teststrip.records import Failure, Generation, Progress
from teststrip.serve.fleet import ServiceGenerator
from teststrip.serve.web.keys import KeyRing
from teststrip.testing.conformance import GeneratorConformance, some_requests
from teststrip.testing.instant import InstantStepper

RECIPE = Recipe(steps=3)


def requests(prompt: str, seeds=(1, 2, 3), recipe=RECIPE) -> list[Request]:
    return [Request(recipe=recipe, block=Block(prompt=prompt, seed=seed)) for seed in seeds]


class TestServiceGenerator(GeneratorConformance):
    @pytest.fixture
    def generator(self, service) -> Iterator[ServiceGenerator]:
        with closing(ServiceGenerator(service.url)) as generator:
            yield generator


def test_its_pictures_are_those_of_the_workers_engine(service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        made = list(generator.generate(requests("the same bytes")))

    stepper = InstantStepper()
    for one in made:
        assert isinstance(one, Generation)
        assert one.image_key == stepper.image_key(one.request)
        assert (png.pixels(one.png) == stepper.pixels(one.request)).all()
        assert one.model_calls == 3
        assert one.facts["fingerprint"] == stepper.fingerprint


def test_its_jobs_are_below_those_of_people(service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        list(generator.generate(requests("a sweep", [9])))

    assert service.jobs()[-1].priority == "sweep"


def test_what_was_made_is_not_made_again(service) -> None:
    first, second = ServiceGenerator(service.url), ServiceGenerator(service.url)
    with closing(first), closing(second):
        made = list(first.generate(requests("once")))
        before = len(service.jobs())
        again = list(second.generate(requests("once")))

    assert len(service.jobs()) == before
    assert {g.image_key: g.png for g in made} == {g.image_key: g.png for g in again}


def test_equal_requests_are_one_job_and_each_is_answered(service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        made = list(generator.generate(requests("twins", [5, 5, 5])))

    assert len(made) == 3
    assert sum(job.prompt == "twins" for job in service.jobs()) == 1


def test_a_failure_is_told_and_its_neighbours_are_made(service) -> None:
    wanted = requests("a FAULT", [1]) + requests("fine", [1, 2])

    with closing(ServiceGenerator(service.url)) as generator:
        outcomes = {o.request: o for o in generator.generate(wanted)}

    assert isinstance(outcomes[wanted[0]], Failure)
    assert "NaN" in outcomes[wanted[0]].reason
    assert all(isinstance(outcomes[one], Generation) for one in wanted[1:])


def test_a_job_that_failed_before_is_tried_again_in_another_run(service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        for _ in range(2):
            [outcome] = generator.generate(requests("FAULT again", [1]))
            assert isinstance(outcome, Failure)

    assert sum(job.prompt == "FAULT again" for job in service.jobs()) == 2


def test_a_wish_that_the_service_refuses_is_a_failure_with_its_words(service) -> None:
    wanted = requests("x" * 2001, [1]) + requests("short", [1])

    with closing(ServiceGenerator(service.url)) as generator:
        outcomes = {o.request: o for o in generator.generate(wanted)}

    assert "2001 characters; at most 2000" in outcomes[wanted[0]].reason
    assert isinstance(outcomes[wanted[1]], Generation)


def test_adapters_have_a_fingerprint_of_their_own(service) -> None:
    recipe = Recipe(steps=2, loras=(Lora(path="style.safetensors"),))

    with closing(ServiceGenerator(service.url)) as generator:
        name = generator.fingerprint(recipe)
        [made] = generator.generate(requests("styled", [1], recipe))

    assert name == InstantStepper().fingerprint_of(recipe) != InstantStepper().fingerprint
    assert made.image_key == made.request.image_key(name)


def test_a_closed_iterator_cancels_what_is_under_way(a_service) -> None:
    with a_service(step_s=0.02, slots=2) as service:
        generator = ServiceGenerator(service.url)
        outcomes = generator.generate(requests("many", range(40), Recipe(steps=4)))
        next(outcomes)
        outcomes.close()
        generator.close()

        while any(not job.is_ended for job in service.jobs()):
            time.sleep(0.02)
        states = [job.state for job in service.jobs()]
        assert states.count("cancelled") >= 20
        assert set(states) == {"done", "cancelled"}


def test_cancelled_jobs_of_a_stopped_run_are_made_in_the_next(a_service) -> None:
    with a_service(step_s=0.01, slots=2) as service:
        generator = ServiceGenerator(service.url)
        wanted = requests("goes on", range(12))
        outcomes = generator.generate(wanted)
        next(outcomes)
        outcomes.close()
        made = list(generator.generate(wanted))
        generator.close()

    assert len(made) == 12
    assert all(isinstance(one, Generation) for one in made)


def test_progress_is_told_while_it_is_made(a_service) -> None:
    seen: list[Progress] = []
    with a_service(step_s=0.05) as service:
        generator = ServiceGenerator(service.url)
        list(generator.generate(requests("slow", [1], Recipe(steps=30)), seen.append))
        generator.close()

    assert seen[-1].calls_done == seen[-1].calls_total == 30
    assert any(0 < one.calls_done < 30 for one in seen)


def test_limits_of_its_key_are_waited_for(a_service, tmp_path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("study", ["study"], max_queued=2)
    with a_service(step_s=0.01, keys=ring, slots=2) as service:
        generator = ServiceGenerator(service.url, SecretStr(secret))
        made = list(generator.generate(requests("limited", range(5))))
        generator.close()

    assert len(made) == 5
    assert all(isinstance(one, Generation) for one in made)


def test_a_service_that_takes_small_batches_gets_them(a_service) -> None:
    with a_service(max_batch=2) as service:
        generator = ServiceGenerator(service.url)
        made = list(generator.generate(requests("few at once", range(7))))
        generator.close()

    assert len(made) == 7


@pytest.mark.service
def test_pictures_are_read_from_the_store_without_the_services_key(a_service, tmp_path, s3) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("study", ["study"])
    with a_service(keys=ring, store=f"s3://{s3.bucket}", s3_endpoint=s3.endpoint) as service:
        generator = ServiceGenerator(service.url, SecretStr(secret))
        made = list(generator.generate(requests("in a bucket")))
        generator.close()

    assert len(made) == 3  # a server that is sent a key and a signature refuses both
    assert all(isinstance(one, Generation) for one in made)


def test_a_wrong_key_is_one_clear_fault_that_does_not_show_it(
    a_service, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TESTSTRIP_SERVICE_KEY", "not-a-key")
    with a_service(with_worker=False, keys=KeyRing(tmp_path / "keys.json")) as service:
        generator = ServiceGenerator(service.url)
        with pytest.raises(ConfigError, match="TESTSTRIP_SERVICE_KEY") as caught:
            generator.fingerprint(RECIPE)
        generator.close()

    assert "not-a-key" not in str(caught.value)


def test_a_service_without_a_worker_or_away_ends_the_study_soon(a_service) -> None:
    with a_service(with_worker=False) as service:
        generator = ServiceGenerator(service.url, patience_s=0.3)
        with pytest.raises(GenerationError, match="no worker has told"):
            generator.fingerprint(RECIPE)
        with pytest.raises(ConfigError, match="does not serve model 'other'"):
            generator.fingerprint(Recipe(model="other"))
    with pytest.raises(GenerationError, match="cannot be used"):
        generator.fingerprint(RECIPE)
    generator.close()


def test_pictures_of_other_weights_end_the_study(service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        generator.fingerprint(RECIPE)
        known = dict.fromkeys(generator._fingerprints, "those-of-last-week")
        generator._fingerprints = known

        with pytest.raises(GenerationError, match="asked for those-of-last-week"):
            list(generator.generate(some_requests(RECIPE, 1)))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://me:key@host/"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="accepted: http"):
        ServiceGenerator(url)


def test_a_key_in_a_studys_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="TESTSTRIP_SERVICE_KEY"):
        ServiceGenerator("http://127.0.0.1:1", api_key="ts_secret")
