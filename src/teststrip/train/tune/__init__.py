"""Tuning: the settings of a training, searched at equal budget, with one objective for all.

config.py, settings.py   what is searched, and the training that a point of it stands for
job.py, folder.py        one trial's turn and its outcome; where a search is kept
objective.py, early.py   a training as a number; when a trial is given up
book.py, repeats.py      who is next: the search in Optuna's journal, then the best once more
in_process.py, on_ray.py the two back ends
search.py, report.py     all of it from top to bottom; what came out of it
"""
