"""Three images of a study's own generator, made and scored to learn how long its images take.

They are made one after another: the baseline, then the cheapest and the dearest recipe of the
design. The first pays for whatever a model does once (kernels chosen, memory taken), so the line

    seconds = start + per_call x work(recipe)

is laid through the other two, and through the first as well if that fits. `work` is model calls,
twice as many where guidance needs two rows, in proportion to the picture's size.

A generator that fills its forwards up to a fixed number of rows (its pictures say so: the fact
`rows`) takes as long for one image as for many, and a study keeps the rows full; there the line is
divided accordingly. Of any other generator nothing is known of batches: its estimate is the speed
of single images, which a study only ever beats. Pictures and scores are thrown away.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import TeststripError
from teststrip.protocols import Generator, Scorer
from teststrip.recipe import Recipe, Request
from teststrip.records import Failure, Generation
from teststrip.study.config import StudyConfig
from teststrip.study.entries import Entries, spread
from teststrip.study.parts import load_generator, load_scorers

SIDE = 512  # px; only ratios of sizes count


class NoProbe(TeststripError):  # noqa: N818 - the plan goes on without
    """The generator could not be measured."""


@dataclass(frozen=True)
class Sample:
    """One probe image: its recipe, its `forwards` (model calls, in proportion to its size) of
    `rows` rows each, and what it took."""

    recipe_id: str
    forwards: float
    rows: int
    seconds: float


@dataclass(frozen=True)
class Probe:
    """How long images take here. `opening_s`: until the model was open, once per run.

    `start_s` per image, `per_call_s` for each unit of work, `scoring_s` per image with all scorers
    of the study. `rows`: rows of a forward that is always filled, None where unknown.
    """

    start_s: float
    per_call_s: float
    scoring_s: float
    opening_s: float
    rows: int | None
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]

    def seconds(self, recipe: Recipe) -> float:
        """Generating and scoring one image of a study that keeps the generator busy."""
        return self.start_s + self.per_call_s * work(recipe) + self.scoring_s

    @property
    def range(self) -> tuple[float, float]:
        """Seconds of the cheapest and the dearest image of a busy generator, scoring included."""
        times = [
            self.start_s + self.per_call_s * s.forwards * s.rows + self.scoring_s
            for s in self.samples
        ]
        return min(times), max(times)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def work(recipe: Recipe) -> float:
    """Rows that go through the model for one image, in proportion to its size."""
    return _forwards(recipe) * _rows(recipe)


def _forwards(recipe: Recipe) -> float:
    return recipe.model_calls * (recipe.width or SIDE) * (recipe.height or SIDE) / SIDE**2


def _rows(recipe: Recipe) -> int:
    return 2 if recipe.guided else 1


def measure(config: StudyConfig, of: Entries, beside: Path | None = None) -> Probe:
    """Open what the study names, make three images and score them.

    Raises NoProbe that says why where something cannot be opened or made.
    """
    began = time.perf_counter()
    try:
        generator = load_generator(config, beside)
        try:
            generator.fingerprint(config.baseline_recipe)
            opening = time.perf_counter() - began
            made = [_make(generator, request) for request in _requests(config, of)]
        finally:
            generator.close()
        scoring = _score(load_scorers(config, beside), [picture for _, picture in made])
    except NoProbe:
        raise
    except (
        Exception
    ) as exc:  # a user's own class may raise anything; the plan is still worth having
        kind = "" if isinstance(exc, TeststripError) else f"{type(exc).__name__}: "
        raise NoProbe(f"{kind}{exc}") from exc
    rows = made[-1][1].facts.get("rows")
    return fitted([sample for sample, _ in made], scoring, opening, rows)


def fitted(
    samples: Sequence[Sample], scoring_s: float, opening_s: float, rows: int | None
) -> Probe:
    """The line through the samples, of which the first may have paid for a start.

    With `rows`, an image's rows are its share of a forward that costs the same however full.
    """
    first, *others = samples
    xs = [s.forwards if rows else s.forwards * s.rows for s in samples]
    start, slope = _line(xs[1:], [s.seconds for s in others])
    notes = []
    expected = start + slope * xs[0]
    if first.seconds <= 1.5 * expected:
        start, slope = _line(xs, [s.seconds for s in samples])
    else:
        notes.append(
            f"the first image took {first.seconds:.2g} s instead of {expected:.2g} s and was left "
            "out: a start is paid once"
        )
    if rows:
        slope /= rows
    else:
        notes.append("measured one image at a time; fuller batches are faster, so this is at most")
    if len(set(xs)) == 1:
        notes.append("all recipes make equally many model calls")
    return Probe(start, slope, scoring_s, opening_s, rows, tuple(samples), tuple(notes))


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """(start, slope) of least squares with neither below 0."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread_x = sum((a - x) ** 2 for a in xs)
    if spread_x <= 1e-12 * x**2:
        return 0.0, y / x
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread_x
    if slope <= 0:
        return y, 0.0
    if y < slope * x:
        return 0.0, sum(a * b for a, b in zip(xs, ys, strict=True)) / sum(a * a for a in xs)
    return y - slope * x, slope


def _requests(config: StudyConfig, of: Entries) -> list[Request]:
    baseline, block = config.baseline_recipe, config.blocks[0].block
    # one model at a time: loading another is no part of an image's time
    others = [r for r in spread(config, of) if r.model == baseline.model] or [baseline]
    recipes = [baseline, min(others, key=work), max(others, key=work)]
    return [Request(recipe=recipe, block=block) for recipe in recipes]


def _make(generator: Generator, request: Request) -> tuple[Sample, Generation]:
    began = time.perf_counter()
    (outcome,) = generator.generate([request])
    seconds = time.perf_counter() - began
    if isinstance(outcome, Failure):
        raise NoProbe(f"an image could not be made: {outcome.reason}")
    recipe = request.recipe
    return Sample(recipe.recipe_id, _forwards(recipe), _rows(recipe), seconds), outcome


def _score(scorers: Sequence[Scorer], pictures: Sequence[Generation]) -> float:
    """Seconds to score one image; the first picture opens the scorers' models."""
    for scorer in scorers:
        scorer.score(pictures[:1])
    began = time.perf_counter()
    for scorer in scorers:
        scorer.score(pictures[1:])
    return (time.perf_counter() - began) / len(pictures[1:])
