"""A report on a merge request: one note there, brought up to date at each call.

place.py     where we are, from the environment of GitLab's or GitHub's CI
note.py      the note's text: its hidden marker, its pictures' addresses, its greatest length
client.py    one REST interface: time limits, retries, no redirects, no secret in any message
one_note.py  one note for each report, whoever else writes at the same time
gitlab.py    GitLab: notes and uploads
github.py    GitHub: comments, the step's summary
branch.py    GitHub: pictures on a branch of their own
posting.py   all of it in order, or a rehearsal
"""

from teststrip.project.forge.place import Place, place_from
from teststrip.project.forge.posting import Posted, post

__all__ = ["Place", "Posted", "place_from", "post"]
