"""The last stage: what was made against its reference, as a page and as Markdown.

Of this revision alone; `teststrip project report --base REF` compares two. Neither the machine nor
git is asked, so that the same results give the same bytes anywhere.
"""

from dataclasses import replace

from teststrip.errors import ConfigError
from teststrip.files import write_atomic
from teststrip.project.layout import REPORT
from teststrip.project.project import Project
from teststrip.project.report.content import alone, choose
from teststrip.project.report.files import files
from teststrip.project.report.results import Results, read
from teststrip.project.revision import here
from teststrip.wire.stages import Here, Made


def run(project: Project, here_: Here) -> Made:
    """Raises ConfigError where report.score names no score, or a file of the results is damaged."""
    options = project.params.report
    results = _inputs(project)
    score = choose(results, options.score)
    if score not in results.scores:
        known = ", ".join(("auto", *results.scores))
        raise ConfigError(f"params.yaml: report.score {options.score!r}: {known} are accepted")
    here_.progress("report", 0, 1)
    content = alone(results, options.score, options.confidence)
    with project.replacing(REPORT) as folder:
        for name, data in files(content).items():
            write_atomic(folder / name, data)
    here_.progress("report", 1, 1)
    return Made(resolved={"score": score}, said=content.verdict.headline)


def _inputs(project: Project) -> Results:
    """What this stage's inputs hold and no more: lock records tell times and machines."""
    results = read(here(project.root))
    inputs = project.stage("report").inputs
    named = {s: found for s, found in results.metrics.items() if f"metrics/{s}.json" in inputs}
    return replace(results, metrics=named, records={})
