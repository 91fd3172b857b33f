"""What the store has not been told yet: kept on disk while it is away, told once it is back.

box       one study's, training's or search's records that wait, in TESTSTRIP_HOME/outbox
outage    when to try again, and the one line that says so
tracker   a study's tracker over MLflow that never loses a record
doubles   runs that a lost answer made twice
"""
