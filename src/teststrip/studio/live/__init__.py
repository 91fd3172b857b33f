"""What runs now and what ended lately: watched by polling, stopped and resumed by a button.

status     one study as its folder tells it: state, images, leader, rate, failures
newest     its newest images, from the end of rows.jsonl
trainings  training runs that say they run
launcher   child processes `python -m teststrip study ...` and their logs
page       the routes
"""

from teststrip.studio.live.page import router

__all__ = ["router"]
