"""A project as it was at another git revision, read without touching the working tree.

repository.py  the git repository around a project: revisions and the small files that git keeps
kept.py        the large ones: from DVC's cache, else from its remote
revision.py    both as one: a project's files at a revision, or as they lie here
"""

from teststrip.project.revision.revision import Revision, at, here

__all__ = ["Revision", "at", "here"]
