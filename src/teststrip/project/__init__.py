"""Projects: a git repository whose stages are Teststrip's commands; DVC keeps the results.

layout.py   which files a project has and which stage writes them
params.py   params.yaml, checked as a whole
project.py  a project's folder, open; outputs that are whole or not there
record.py   what a stage leaves in locks/: inputs, parameters, code, machine, outputs by hash
init.py     a new project from template/
compare.py  two outputs: the same bytes, or how far apart
doctor.py   what is wrong with a project, and what to do about it
revision/   a project as it was at another git revision
report/     what a change did: parameters, scores with intervals, pictures, curves, verdict
forge/      the report on a merge request: GitLab's and GitHub's REST interfaces
"""
