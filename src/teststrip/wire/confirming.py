"""Confirm: the leaders on images that chose nothing, what that shows, and its record."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.files import write_atomic
from teststrip.wire.bench import REPORT, Bench

if TYPE_CHECKING:
    from teststrip.evidence.confirmed import Confirmed
    from teststrip.evidence.facts import StudyFacts
    from teststrip.evidence.ranking import Ranking
    from teststrip.study import Study
    from teststrip.study.result import Confirmation, Event

CONFIRMATION, TABLE = "confirmation.json", "images.parquet"


@dataclass(frozen=True)
class Findings:
    """What a study's search and its confirmation show. `looks`: confirmations so far."""

    study: "Study"
    facts: "StudyFacts"
    ranking: "Ranking"
    confirmed: "Confirmed | None"
    looks: int

    @property
    def headline(self) -> str:
        """The confirmation in one sentence."""
        from teststrip.evidence.verdict import headline

        if self.confirmed is None:
            return f"Not confirmed yet: teststrip study confirm {self.facts.name}"
        return headline(self.confirmed, self.ranking)

    @property
    def lines(self) -> list[str]:
        """Each leader's numbers, and how far to trust them."""
        from teststrip.evidence.verdict import lines

        found = lines(self.confirmed, self.ranking, self.facts) if self.confirmed else []
        if self.looks > 1:
            found.append(
                f"confirmed {self.looks} times with something new each time; p values hold for one "
                "look and are too small after several"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """For --json, confirmation.json and the record."""
        from teststrip.evidence.summary import json_safe

        evidence = None
        if self.confirmed is not None:
            evidence = asdict(self.confirmed) | {"champion": self.confirmed.champion}
        return {
            "headline": self.headline,
            "evidence": json_safe(evidence),
            "notes": self.lines,
            "looks": self.looks,
        }


@dataclass(frozen=True)
class Outcome:
    """A confirmation that was run: its images, what they show, the report written anew."""

    run: "Confirmation"
    findings: Findings
    page: Path

    def __str__(self) -> str:
        ran = self.run
        return "\n".join(
            [
                self.findings.headline,
                *(f"  {line}" for line in self.findings.lines),
                f"  {ran.images} held-out images, {ran.images_now} of them made now",
                f"  report  {self.page}",
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return self.run.as_dict() | self.findings.as_dict() | {"report": str(self.page)}


def findings(bench: Bench, name: str) -> Findings:
    """What a study's table shows now. Raises StudyError where the study has no result yet."""
    from teststrip.evidence import table
    from teststrip.evidence.confirmed import confirmed
    from teststrip.evidence.grid import build
    from teststrip.evidence.mixed import fit
    from teststrip.evidence.ranking import rank
    from teststrip.evidence.standing import standings
    from teststrip.study import Study
    from teststrip.study.result import Asked
    from teststrip.study.study import record_of, refuse_import
    from teststrip.wire.facts import facts_of

    record = record_of(name, bench.home)
    refuse_import(name, record)
    study = Study(record["config"], home=bench.home)
    facts = facts_of(study)
    images = table.load(study.folder.table, facts.objective)
    grid = build(images, facts)
    ranking = rank(images, facts, grid)
    found = standings(grid, ranking, facts, fit(grid))
    expected = {i: s.gain.mean for i, s in found.items() if s.gain is not None}
    return Findings(
        study=study,
        facts=facts,
        ranking=ranking,
        confirmed=confirmed(images, facts, ranking, expected),
        looks=len(Asked.of(record).rounds),
    )


def confirm(  # noqa: PLR0917 - the verb's flags
    bench: Bench,
    name: str,
    top: int = 3,
    seeds: int | None = None,
    on_event: "Callable[[Event], None] | None" = None,
    out: Path | None = None,
) -> Outcome:
    """Run the leaders and the baseline on held-out blocks, judge them, write and record it all.

    Beside the study: `confirmation.json`, `confirmed` in study.json, and its report anew. Raises
    what `Study.confirm` and the tracker raise.
    """
    ran = bench.study_named(name).confirm(top, seeds, on_event)
    found = findings(bench, name)
    shown = found.as_dict()
    write_atomic(found.study.folder.path / CONFIRMATION, to_json(shown))
    found.study.folder.write(confirmed=ran.as_dict() | shown)
    report = bench.report(name, out)
    if bench.tracker is not None:
        record(bench, found, report.files, report.metrics)
        bench.tracker.say_waiting(name)
    return Outcome(ran, found, (out or bench.report_folder(name)) / REPORT)


def record(
    bench: Bench,
    found: Findings,
    files: dict[str, bytes],
    metrics: dict[str, dict[str, float]],
) -> str:
    """The study's MLflow run with its confirmation, made if it was never tracked; its run id."""
    if bench.tracker is None:
        raise ValueError("this bench records nothing")
    config = found.study.config
    run_id = bench.tracker.start_study(config.name, config.resolved())
    bench.tracker.log_evidence(config.name, metrics)
    numbers: dict[str, float] = {}
    if found.confirmed is not None:
        bench.tracker.log_evidence(config.name, confirmed_metrics(found.confirmed))
        numbers["confirmed"] = float(found.confirmed.champion is not None)
        numbers["confirmed.images"] = float(found.confirmed.images)
        files = files | {CONFIRMATION: to_json(found.as_dict())}
    files = files | {TABLE: found.study.folder.table.read_bytes()}
    bench.tracker.finish_study(config.name, numbers, files, found.study.state)
    return run_id


def confirmed_metrics(found: "Confirmed") -> dict[str, dict[str, float]]:
    """`recipe_id` -> `confirmed.` numbers for a tracker; what is not known is left out."""
    out: dict[str, dict[str, float]] = {}
    for name, mean in found.means.items():
        numbers: dict[str, float | None] = {
            "mean": mean.mean,
            "mean.low": mean.low,
            "mean.high": mean.high,
        }
        if passes := found.passes.get(name):
            numbers |= {"passes": passes.mean, "passes.low": passes.low, "passes.high": passes.high}
        if row := found.row(name):
            numbers |= {
                "gain": row.gain.mean,
                "gain.low": row.gain.low,
                "gain.high": row.gain.high,
                "p_holm": row.p_holm,
                "images": row.images,
                "prompts": row.prompts,
                "supported": float(name in found.supported),
            }
        out[name] = {f"confirmed.{k}": float(v) for k, v in numbers.items() if v is not None}
    return out


def to_json(data: Any) -> bytes:
    """A file for people and programs."""
    return (json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n").encode()
