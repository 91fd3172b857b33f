"""The one place that turns settings into concrete parts and joins rooms that never meet.

bench      studies run, reported and recorded       facts      what evidence knows of a study
tables     a study's table, here or from MLflow     analysing  the evidence of anybody's table
planning   images, time, cost and power             comparing  two recipes head to head
confirming the leaders on held-out images           people     votes
champion, winner   a confirmed recipe registered and exported
selecting  a training's checkpoint by its records, its scale by a study
service    the service's parts; service_run, service_life its processes, service_admin its operator
ratings    what people said of champions in production
"""

from teststrip.wire.bench import REPORT, SHEET, SUMMARY, Bench, Report, settings

__all__ = ["REPORT", "SHEET", "SUMMARY", "Bench", "Report", "settings"]
