"""Takes jobs from the queue, makes their pictures, acknowledges last.

worker.py         pull, claim, begin, drain: the loop of one worker
job.py            one job from its claim to its acknowledgement
held.py           what is written of it under its fence; all its ends
pictures.py       finished pictures into the store, and those of an earlier attempt out of it
keeper.py         leases, progress, cancels, the worker's card
previews.py       the newest preview of each picture into the state
board.py          the engine as the event loop sees it
engine_thread.py  the thread that owns the steppers; events.py is what both tell each other
open_model.py     an open model and whose pictures it has
stepper.py        the seam: what an engine must be
faults.py         why a job stops, and whether it is tried again
meter.py          model calls a second
"""
