"""The tracking server: MLflow's own, with log-in, the right flags and one process.

`config` says what it is made of (TESTSTRIP_TRACK_*). Needs the extra `server`.
"""
