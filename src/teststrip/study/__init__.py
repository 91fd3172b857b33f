"""A study: recipes chosen, raced on the same blocks, scored and kept, however often it is killed.

config, load, faults, space, constraints, prompts   the file, and all that can be wrong in it
blocks                                              the same (prompt, seed) pairs for all
designs, trials                                     which recipes: fixed designs, Optuna
race                                                who goes on: halving, WilcoxonPruner
cells, scoring, ledger, folder, table               images made once, scored, on disk
entries, stages, plan, probe                        who races, what it costs, how long it takes
runner, study, result, progress, tracking           the run and its end
votes, marks, lines                                 what people say, in files that only grow
"""

from teststrip.study.config import StudyConfig
from teststrip.study.plan import Plan
from teststrip.study.result import Confirmation, Event, StudyResult
from teststrip.study.study import Study

__all__ = ["Confirmation", "Event", "Plan", "Study", "StudyConfig", "StudyResult"]
