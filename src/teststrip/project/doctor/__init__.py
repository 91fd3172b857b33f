"""The doctor of projects: looks at one as git, DVC and a CI job will, and says what to mend.

examine     the whole examination, in its order
repository  git: there, who commits, what is not committed, what does not belong into it
tools       DVC and teststrip on the PATH, disk space, a CI file
pipeline    dvc.yaml against the layout: who makes what each stage reads
contents    params.yaml, pictures, prompts, what is out of date
remote      where DVC keeps results
storage     the same, asked: reachable, the log-in right, writable, not public, complete
secrets     keys and tokens in files that git keeps
visit       what the checks share; finding: what they say
"""

from teststrip.project.doctor.examine import examine
from teststrip.project.doctor.finding import Finding, Report

__all__ = ["Finding", "Report", "examine"]
