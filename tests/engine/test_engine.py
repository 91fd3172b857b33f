"""Laws of the engine: nothing is lost, neighbours do not matter, memory and faults are bounded."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from teststrip import Block, Engine, Failure, Generation, Recipe, Request, png
from teststrip.engine.pipelines.sd import StableDiffusion
from teststrip.errors import ConfigError, GenerationError
from teststrip.records import Outcome, Progress


def request(folder: Path, seed: int = 0, **fields: Any) -> Request:
    recipe = Recipe(model=str(folder), **({"steps": 4, "guidance": 3.0} | fields))
    return Request(recipe=recipe, block=Block(prompt="a cat", seed=seed))


def by_request(outcomes: Iterator[Outcome]) -> dict[Request, bytes]:
    made = {}
    for out in outcomes:
        assert isinstance(out, Generation), out
        made[out.request] = out.png
    return made


@pytest.fixture(scope="module")
def exact(folder: Path) -> Iterator[Engine]:
    with Engine.open(str(folder), dtype="fp32", device="cpu", deterministic=True) as opened:
        yield opened


def crowd(folder: Path, seed: int, count: int = 20) -> list[Request]:
    rng = random.Random(seed)
    return [
        request(
            folder,
            seed=rng.randrange(1000),
            scheduler=rng.choice(["euler_a", "ddim", "heun", "unipc", "pndm"]),
            steps=rng.randint(2, 9),
            guidance=rng.choice([1.0, 2.0, 8.0]),
        )
        for _ in range(count)
    ]


def test_deterministic_mode_gives_the_same_bytes_whatever_the_neighbours(
    folder: Path, exact: Engine
) -> None:
    watched = [request(folder, seed=s, scheduler="euler_a", steps=7) for s in (1, 2)]

    alone = by_request(exact.generate(watched[:1])) | by_request(exact.generate(watched[1:]))
    for neighbours in range(3):
        mixed = [*crowd(folder, neighbours), *watched]
        random.Random(neighbours).shuffle(mixed)
        together = by_request(exact.generate(mixed))

        for one in watched:
            assert together[one] == alone[one]


def test_the_same_request_gives_the_same_bytes_in_another_engine(
    folder: Path, exact: Engine
) -> None:
    first = by_request(exact.generate([request(folder, seed=5)]))

    with Engine.open(str(folder), dtype="fp32", device="cpu", deterministic=True) as other:
        second = by_request(other.generate([request(folder, seed=5)]))

    assert first == second


def test_every_request_is_answered_exactly_once(folder: Path, engine: Engine) -> None:
    requests = crowd(folder, 3, count=40)

    answered = [out.request for out in engine.generate(requests)]

    assert sorted(map(repr, answered)) == sorted(map(repr, requests))
    assert engine.is_idle


def test_progress_is_exact_model_calls_and_ends_at_the_total(folder: Path, engine: Engine) -> None:
    seen: dict[Request, list[Progress]] = {}
    requests = [request(folder, s, scheduler=n) for s, n in enumerate(("pndm", "heun", "ddim"))]

    list(engine.generate(requests, lambda p: seen.setdefault(p.request, []).append(p)))

    for one, events in seen.items():
        assert [e.calls_done for e in events] == list(range(1, one.recipe.model_calls + 1))
        assert {e.calls_total for e in events} == {one.recipe.model_calls}


def test_cancel_frees_the_rows_at_the_next_step(folder: Path) -> None:
    with Engine.open(str(folder), dtype="fp32", device="cpu", max_rows=2) as engine:
        long = engine.add_request(request(folder, 1, steps=500))
        short = engine.add_request(request(folder, 2, steps=1))
        engine.step()

        assert engine.cancel(long)
        assert not engine.cancel(long)
        (out,) = engine.step()

        assert out.request.block.seed == 2
        assert engine.progress(short) is None
        assert engine.is_idle


def test_closing_the_iterator_leaves_the_engine_usable(folder: Path, engine: Engine) -> None:
    outcomes = engine.generate(crowd(folder, 4))
    next(outcomes)
    outcomes.close()

    assert engine.is_idle
    assert len(list(engine.generate([request(folder)]))) == 1


def test_stream_gives_progress_and_at_last_the_image(folder: Path, engine: Engine) -> None:
    *events, last = engine.stream(request(folder, steps=5))

    assert [e.calls_done for e in events if isinstance(e, Progress)] == [1, 2, 3, 4, 5]
    assert isinstance(last, Generation)


class SmallMemory(StableDiffusion):
    """A pipeline whose device holds no more than `limit` rows, as a small GPU would."""

    limit = 4
    largest = 0

    def denoise(self, latents: Any, *rest: Any) -> Any:
        if len(latents) > self.limit:
            raise torch.OutOfMemoryError("no room")
        SmallMemory.largest = max(SmallMemory.largest, len(latents))
        return super().denoise(latents, *rest)


def with_pipeline(engine: Engine, kind: type[StableDiffusion]) -> Engine:
    engine._pipeline = kind(engine._pipeline.pipe)
    return engine


def test_out_of_memory_halves_the_rows_and_loses_nothing(folder: Path, engine: Engine) -> None:
    requests = crowd(folder, 5)
    expected = by_request(engine.generate(requests))

    with Engine.open(str(folder), dtype="fp32", device="cpu", max_rows=16) as small:
        made = by_request(with_pipeline(small, SmallMemory).generate(requests))

    assert SmallMemory.largest == 4
    assert made.keys() == expected.keys()
    for one, data in made.items():
        apart = png.pixels(data).astype(int) - png.pixels(expected[one])
        assert abs(apart).max() <= 1


def test_out_of_memory_with_a_single_image_says_so(folder: Path) -> None:
    class NoMemory(SmallMemory):
        limit = 0

    with (
        Engine.open(str(folder), dtype="fp32", device="cpu") as small,
        pytest.raises(GenerationError, match="single image"),
    ):
        list(with_pipeline(small, NoMemory).generate([request(folder)]))


def test_memory_is_bounded_by_max_rows(folder: Path) -> None:
    with Engine.open(str(folder), dtype="fp32", device="cpu", max_rows=4) as engine:
        for number in range(30):
            engine.add_request(request(folder, number))
        engine.step()

        on_board = [f for f in engine._flights.values() if f.is_on_board]

    assert sum(f.rows for f in on_board) <= 4


def test_a_row_that_becomes_nan_fails_alone(folder: Path) -> None:
    class OneBadRow(StableDiffusion):
        def denoise(self, latents: Any, *rest: Any) -> Any:
            out = super().denoise(latents, *rest)
            out[0] = float("nan")
            return out

    with Engine.open(str(folder), dtype="fp32", device="cpu") as engine:
        requests = [request(folder, seed) for seed in range(3)]
        outcomes = list(with_pipeline(engine, OneBadRow).generate(requests))

    assert sorted(isinstance(out, Failure) for out in outcomes) == [False, False, True]


def test_models_and_precisions_it_cannot_make_are_failures_that_say_why(
    folder: Path, engine: Engine
) -> None:
    wrong = [
        Request(recipe=Recipe(model="elsewhere"), block=Block(prompt="x", seed=1)),
        request(folder, dtype="bf16"),
    ]

    outcomes = {out.request: out for out in engine.generate([*wrong, request(folder, 9)])}

    reasons = [outcomes[one].reason for one in wrong]  # type: ignore[union-attr]
    assert "'elsewhere'" in reasons[0]
    assert "computes in fp32" in reasons[1]
    assert isinstance(outcomes[request(folder, 9)], Generation)


def test_options_are_checked_together() -> None:
    with pytest.raises(ConfigError) as caught:
        Engine.open("builtin", max_rows=1, dtype="fp8", devise="cpu")

    assert len(caught.value.faults) == 3


def test_mixed_sizes_share_an_engine(folder: Path, engine: Engine, pipe: Any) -> None:
    from teststrip.testing.plain import pixels_of

    requests = [request(folder, s, width=w, height=32) for s, w in enumerate((32, 48, 32, 64))]

    made = by_request(engine.generate(requests))

    for one in requests:
        apart = png.pixels(made[one]).astype(int) - pixels_of(pipe, one)
        assert abs(apart).max() <= 1
