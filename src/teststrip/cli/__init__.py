"""The command line: `teststrip <noun> <verb>`.

    main.py      nouns, --version, one table from error to exit code
    image.py     make images, show what one holds, list the noise schedulers
    study.py     plan, run, resume, list and show studies
    findings.py  what a study, or anybody's table, says: report
    winner.py    what becomes of the best recipe: confirm
    verbs.py     flags and printing that verbs share
    doctor.py    what is installed, found and writable here
    making.py    requests -> files, with a progress bar when it takes long
    remaking.py  a PNG -> the same picture again, compared
    flags.py     flags of an image -> fields of a recipe, all faults at once

A verb declares its flags, calls the library and prints; results go to stdout, all else to stderr.
"""
