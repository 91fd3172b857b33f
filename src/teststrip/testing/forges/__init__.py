"""GitLab and GitHub on loopback: real HTTP servers with the calls that a report is posted by.

They answer as the documents of both interfaces say: rights, pages, limits, uploads; and on demand
as servers do on bad days. What they hold can be looked at and changed by a test.

server.py   HTTP, faults
gitlab.py   notes, uploads, quick actions
github.py   comments, who the token is
commits.py  GitHub's git database, kept by git itself
"""

from teststrip.testing.forges.github import GitHub
from teststrip.testing.forges.gitlab import GitLab
from teststrip.testing.forges.server import Limited

__all__ = ["GitHub", "GitLab", "Limited"]
