"""The whole plan of a study: images, time, cost, and the differences that it will be able to tell.

`study` counts the images and measures the generator, `evidence` knows the power; here they meet.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from teststrip.evidence.power import Spread
    from teststrip.study import Plan, Study
    from teststrip.study.probe import Probe

VARIANTS = (
    ("as planned", 1.0, 1.0),
    ("half the prompts", 0.5, 1.0),
    ("double the prompts", 2.0, 1.0),
    ("half the seeds", 1.0, 0.5),
    ("double the seeds", 1.0, 2.0),
)


@dataclass(frozen=True)
class Variant:
    """The study with more or fewer prompts or seeds, search and confirmation alike.

    `images`, `seconds`, `cost`: of both together. `search`, `confirm`: smallest difference that is
    found with 80 % power between a finalist and the baseline; None where there are fewer than two
    prompts.
    """

    name: str
    prompts: int
    seeds: float
    prompts_confirm: int
    seeds_confirm: int
    images: int
    seconds: float | None
    cost: float | None
    search: float | None
    confirm: float | None


@dataclass(frozen=True)
class Outlook:
    """A plan with its time, cost and power. `no_probe`: why the speed is unknown, or empty."""

    plan: "Plan"
    spread: "Spread"
    variants: tuple[Variant, ...]
    probe: "Probe | None"
    no_probe: str
    price_per_hour: float | None
    currency: str

    def as_dict(self) -> dict[str, Any]:
        """For --json: the plan's own keys, and `time`, `cost`, `power`, `variants`."""
        here = self.variants[0]
        return self.plan.as_dict() | {
            "images_confirmation": self.plan.images - self.plan.images_expected,
            "images_total": self.plan.images,
            "seconds_total": self.plan.seconds,
            "probe": self.probe.as_dict() if self.probe else None,
            "no_probe": self.no_probe,
            "cost": here.cost,
            "currency": self.currency if self.price_per_hour is not None else None,
            "power": {
                "power": 0.8,
                "alpha": 0.05,
                "search": here.search,
                "search_comparisons": self.plan.racers,
                "confirmation": here.confirm,
                "confirmation_comparisons": min(LEADERS, self.plan.racers),
                "unit": self.spread.unit or "units of the score",
                "spread": vars(self.spread),
            },
            "variants": [vars(variant) for variant in self.variants],
        }

    def __str__(self) -> str:
        return "\n".join([str(self.plan), *self._time(), *self._power(), *self._table()])

    def _time(self) -> list[str]:
        from teststrip.evidence.numbers import duration

        if self.plan.seconds is None:
            return [f"  time               unknown: {self.no_probe}"]
        lines = [f"  time               about {duration(self.plan.seconds)} with confirmation"]
        if self.probe is not None:
            cheap, dear = self.probe.range
            lines.append(
                f"  measured           {cheap:.2g} to {dear:.2g} s per image, "
                f"{self.probe.scoring_s:.2g} s of it scoring; three images, "
                f"{duration(self.probe.opening_s)} to open"
            )
            lines += [f"  note: {note}" for note in self.probe.notes]
        if self.variants[0].cost is not None:
            lines.append(
                f"  cost               {self.variants[0].cost:.2f} {self.currency} at "
                f"{self.price_per_hour:g} {self.currency} per hour"
            )
        return lines

    def _power(self) -> list[str]:
        plan, here, unit = self.plan, self.variants[0], self.spread.unit
        lines = [f"  spread             {self.spread.source}"]
        if here.search is None:
            return [*lines, "  smallest difference: not known from one prompt; use at least two"]
        lines.append(
            f"  80 % power         search: for a difference of {_small(here.search)} "
            f"({_count(plan.prompts_raced, 'prompt')} x {plan.seeds_raced:.2g} seeds, "
            f"{_count(plan.racers, 'comparison')})"
        )
        if here.confirm is not None:
            lines.append(
                f"                     confirmation: for {_small(here.confirm)} "
                f"({_count(plan.prompts_held_out, 'prompt')} x {plan.seeds_confirm} seeds, "
                f"{_count(min(LEADERS, plan.racers), 'comparison')})"
            )
        lines.append(f"                     in units {unit or 'of the score'}")
        return lines

    def _table(self) -> list[str]:
        from teststrip.evidence.numbers import duration

        timed, paid = self.plan.seconds is not None, self.price_per_hour is not None
        head = ["", "prompts x seeds", "images", "search", "confirm"]
        rows = [head[:3] + ["time"] * timed + [self.currency] * paid + head[3:]]
        for v in self.variants:
            row = [v.name, f"{v.prompts} x {v.seeds:.2g}", str(v.images)]
            row += [duration(v.seconds)] * timed
            row += [f"{v.cost:.2f}" if v.cost is not None else ""] * paid
            rows.append([*row, _small(v.search), _small(v.confirm)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return ["  what more or fewer would buy (smallest differences at 80 % power):"] + [
            "    " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]


LEADERS = 3


def outlook(
    study: "Study",
    *,
    beside: Path | None = None,
    seconds_per_image: float | None = None,
    probe: bool = True,
    price_per_hour: float | None = None,
    currency: str = "EUR",
    spread: "Spread | None" = None,
) -> Outlook:
    """Plan a study that has not run. Raises ConfigError where its budget or design does not fit.

    `seconds_per_image` or else `probe`: three images of the real generator (see `study.probe`).
    A generator that cannot be opened leaves the time unknown, with the reason. `spread`: variances
    to reckon with, else the assumed ones. `beside`: where the study's file lies.
    """
    from teststrip.evidence.power import ASSUMED
    from teststrip.study.config import Budget
    from teststrip.study.entries import entries
    from teststrip.study.plan import make_plan
    from teststrip.study.probe import NoProbe, measure

    if price_per_hour is not None and price_per_hour < 0:
        raise ConfigError(f"--price-per-hour {price_per_hour}: 0 or more is accepted")
    if seconds_per_image is not None and seconds_per_image < 0:
        raise ConfigError(f"--seconds-per-image {seconds_per_image}: 0 or more is accepted")
    config = study.config
    racing = entries(config)
    make_plan(config, of=racing)  # a budget that does not fit is said before a model is opened
    measured, why, speed = None, "", seconds_per_image
    if speed is None and probe:
        try:
            measured = measure(config, racing, beside)
        except NoProbe as exc:
            why = str(exc)
    elif speed is None:
        why = "not measured (--probe measures it, --seconds-per-image gives it)"
    how_long = measured.seconds if measured else speed
    plan = make_plan(config, how_long, of=racing)
    free = config.model_copy(update={"budget": Budget()})
    variants = []
    for name, prompts, seeds in VARIANTS:
        if plan.prompts_raced * prompts < 1 or plan.seeds_raced * seeds < 1:
            continue
        one = plan
        if prompts * seeds != 1:
            one = make_plan(free, how_long, of=racing, prompts_times=prompts, seeds_times=seeds)
        variants.append(_variant(name, one, spread or ASSUMED, price_per_hour))
    return Outlook(
        plan, spread or ASSUMED, tuple(variants), measured, why, price_per_hour, currency
    )


def spread_like(name: str, home: Path, objective: str) -> "Spread":
    """The spreads of an earlier study, here or in MLflow, for the power of the next.

    Raises StudyError where it has too few images for that, ConfigError where it judged by another
    score than `objective` (the start of the column's name).
    """
    from teststrip.evidence.grid import build
    from teststrip.evidence.mixed import fit
    from teststrip.evidence.power import Spread
    from teststrip.wire.tables import table_of

    earlier = table_of(name, home)
    column = earlier.facts.objective
    if not column.startswith(objective):
        raise ConfigError(
            f"--like {name}: its score is {column}, this study's is {objective}; their units differ"
        )
    model = fit(build(earlier.table, earlier.facts))
    if model is None or model.prompts < 2:
        raise StudyError(
            f"--like {name}: two recipes on two prompts are needed to know its spreads; "
            "leave it out to plan with the assumed ones"
        )
    of = f"study {name}: {len(model.recipes)} recipes on {model.prompts} prompts"
    if model.splits_interaction:
        return Spread(model.interaction**0.5, model.residual**0.5, of)
    return Spread(
        model.residual**0.5,
        0.0,
        f"{of}, one seed each, so all of it is taken as recipe x prompt: more seeds may buy more",
    )


def _variant(name: str, plan: "Plan", spread: "Spread", price: float | None) -> Variant:
    from teststrip.evidence.power import detectable

    leaders = min(LEADERS, plan.racers)
    confirm = None
    if plan.confirmation is not None:
        confirm = detectable(spread, plan.prompts_held_out, plan.seeds_confirm, leaders)
    cost = None if plan.seconds is None or price is None else plan.seconds / 3600 * price
    return Variant(
        name=name,
        prompts=plan.prompts_raced,
        seeds=plan.seeds_raced,
        prompts_confirm=plan.prompts_held_out,
        seeds_confirm=plan.seeds_confirm,
        images=plan.images,
        seconds=plan.seconds,
        cost=cost,
        search=detectable(spread, plan.prompts_raced, plan.seeds_raced, max(plan.racers, 1)),
        confirm=confirm,
    )


def _small(value: float | None) -> str:
    """Two digits: `0.12`, `0.0061`."""
    if value is None:
        return "-"
    return f"{value:#.2g}".rstrip(".") if value < 100 else f"{value:.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
