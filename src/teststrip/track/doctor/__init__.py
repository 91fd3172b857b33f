"""The doctor of tracking servers: looks at one as a client does, and says what to mend.

examine    the whole examination, in its order
network    name, TLS, health, Host header, versions, clock, latency
login      without, with a wrong, with the right log-in; registration, metrics, default password
writing    a run, pictures up and down, a large file, a champion, and all of it away again
visit      what the checks share; finding: what they say
"""

from teststrip.track.doctor.examine import examine
from teststrip.track.doctor.finding import Finding, Report
from teststrip.track.doctor.visit import Visit

__all__ = ["Finding", "Report", "Visit", "examine"]
