"""Bench: where studies are run, reported and recorded."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.config import parse
from teststrip.errors import StudyError
from teststrip.files import write_atomic
from teststrip.settings import Settings

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis
    from teststrip.study import Study, StudyResult
    from teststrip.study.result import Event
    from teststrip.track.outbox.tracker import StudyTracker

REPORT, COMMENT, SHEET, SUMMARY = "report.html", "report.md", "contact-sheet.png", "study.json"


def settings() -> Settings:
    """TESTSTRIP_* from the environment. Raises ConfigError with every fault."""
    return parse(Settings, {}, "TESTSTRIP_* in the environment")


@dataclass(frozen=True)
class Report:
    """The report's files by name, each recipe's evidence for the record, the answer in short."""

    files: dict[str, bytes]
    metrics: dict[str, dict[str, float]]
    brief: str


def report_files(analysis: "Analysis", read_png: Callable[[str], bytes]) -> Report:
    """Page, comment, contact sheet and summary of any analysis, a study's or a table's."""
    from teststrip.evidence import markdown, report, sheet, summary
    from teststrip.evidence.answer import answer
    from teststrip.evidence.brief import brief

    facts = analysis.facts
    columns, rows = sheet.plan(analysis, read_png)
    contact_sheet = sheet.contact_sheet(
        columns,
        rows,
        title=answer(analysis).headline,
        subtitle=f"{facts.objective}, study {facts.name}: each column is one prompt and seed",
        numbers=analysis.ranking.numbers,
        higher_is_better=facts.higher_is_better,
    )
    numbers = json.dumps(summary.summarise(analysis), indent=1)
    files = {
        REPORT: report.render(analysis, read_png).encode(),
        COMMENT: markdown.render(analysis, SHEET).encode(),
        SHEET: contact_sheet,
        SUMMARY: numbers.encode(),
    }
    return Report(files, summary.recipe_metrics(analysis), brief(analysis))


@dataclass(frozen=True)
class Bench:
    """Where studies are run: a home folder and, unless `track` is off, the record in MLflow."""

    home: Path
    track: bool = True

    def study_from(self, path: Path, changes: Sequence[str] = ()) -> "Study":
        """A study file, ready to run. Raises ConfigError with every fault of the file."""
        from teststrip.study import Study

        return Study.from_yaml(path, changes, home=self.home, tracker=self.tracker)

    def study_named(self, name: str, changes: Sequence[str] = ()) -> "Study":
        """A study that was started before, ready to go on."""
        from teststrip.study import Study

        return Study.open(name, home=self.home, set=changes, tracker=self.tracker)

    def run(
        self,
        study: "Study",
        on_event: "Callable[[Event], None] | None" = None,
        out: Path | None = None,
    ) -> "StudyResult":
        """Run a study, write its report (see `report`) and record both."""
        name = study.config.name
        try:
            result = study.run(on_event)
        except StudyError:
            if self.tracker is not None and study.state == "stopped":
                self.tracker.finish_study(name, {}, {}, "killed")
                self.tracker.say_waiting(name)
            raise
        report = self.report(name, out)
        if self.tracker is not None:
            self.tracker.log_evidence(name, report.metrics)
            self.tracker.finish_study(name, {}, report.files, result.ending)
            self.tracker.say_waiting(name)
        return result

    def report(self, name: str, out: Path | None = None) -> "Report":
        """Write report, contact sheet and summary of a study that has a result, here or in MLflow.

        Into `out`, or `report/` in the study's folder. Raises StudyError if there is nothing to
        report yet.
        """
        from teststrip.evidence.analysis import analyse
        from teststrip.wire.tables import table_of

        study = table_of(name, self.home)
        report = report_files(analyse(study.table, study.facts, study.votes), study.read_png)
        for file, data in report.files.items():
            write_atomic((out or self.report_folder(name)) / file, data)
        return report

    def report_folder(self, name: str) -> Path:
        """Where a study's report goes if nobody says otherwise."""
        return self.home / "studies" / name / "report"

    @cached_property
    def tracker(self) -> "StudyTracker | None":
        """MLflow at MLFLOW_TRACKING_URI, or sqlite and a folder under `home`.

        What a server that is away is not told waits in `home`/outbox.
        """
        if not self.track:
            return None
        from teststrip.track.outbox.tracker import StudyTracker

        return StudyTracker(self.home)
