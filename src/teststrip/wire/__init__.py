"""The one place that turns settings into concrete parts and joins rooms that never meet.

bench      studies run, reported and recorded       facts      what evidence knows of a study
"""

from teststrip.wire.bench import REPORT, SHEET, SUMMARY, Bench, Report, settings

__all__ = ["REPORT", "SHEET", "SUMMARY", "Bench", "Report", "settings"]
