"""`teststrip study report`: what a study found."""

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name, Out
from teststrip.wire import Bench, settings


def report(name: Name, out: Out = None, as_json: Json = False) -> None:
    """Write the report of a study that ended: report.html, contact-sheet.png, study.json.

    \b
    Example:
      teststrip study report first --out report
    """
    bench = Bench(settings().home, track=False)
    files = bench.report(name, out).files
    folder = out or bench.report_folder(name)
    paths = {file: str(folder / file) for file in files}
    verbs.show(paths, as_json, "\n".join(paths.values()))
