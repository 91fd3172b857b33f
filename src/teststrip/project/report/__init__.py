"""What a change did to a project, or what a project is at one revision: as a page and as Markdown.

results.py   what a revision holds: parameters, scores by picture, metrics, curves, lock records
pairs.py     the same prompts and seeds before and after: differences, tests, intervals
verdict.py   one sentence from them, by the rules of evidence/
changes.py   parameters that changed; stages that ran again, and why
metrics.py   numbers before and after
curves.py    curves as panels; the page's template and drawn.py draw them
pictures.py  the contact sheet, and the same pictures for the page
content.py   all of it, gathered: of a change, or of one revision
note.py      as Markdown with pictures beside it
page.py      as one HTML file that loads nothing
files.py     all files of a report, by name
"""
