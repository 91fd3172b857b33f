"""Keys and tokens in files that git keeps. Only the place is shown, never the value."""

import re
from pathlib import Path

from teststrip.project.doctor.finding import Finding, failed, passed
from teststrip.project.doctor.visit import Visit

_LARGEST = 1_000_000  # bytes; keys stand in small text files
# fmt: off
KINDS = {
    "a GitLab token": r"\bgl(?:pat|rt|ptt|dt|cbt|ft|soat|agent|imt)-[A-Za-z0-9_.-]{20,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "an S3 secret key": r"(?i)secret_?(?:access_?)?key\b[\"']?\s*[:=]\s*[\"']?[\w/+=-]{32,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a password in an address": r"\b[a-z][a-z0-9+.-]{1,15}://[^/\s:@'\"]+:[^@/\s'\"$<]{3,}@[^\s]",
}
# fmt: on
_PATTERNS = {what: re.compile(pattern) for what, pattern in KINDS.items()}
_DVC_CONFIG = ".dvc/config"
_DVC_SECRET = re.compile(
    r"^\s*(secret_access_key|session_token|access_key_id|password|token|gdrive_client_secret|"
    r"account_key|connection_string|sas_token|client_secret|oss_key_secret)\s*=\s*\S"
)
_WITHOUT_GIT = (_DVC_CONFIG, ".gitlab-ci.yml", "params.yaml", "dvc.yaml", "README.md", ".env")


def secrets(visit: Visit) -> Finding:
    """Does a file hold a secret that everybody with the repository can read?"""
    names = visit.tracked if visit.has_git else _WITHOUT_GIT
    found = [place for name in names for place in _places(visit.root, name)]
    if found:
        return failed(
            "secrets in files that git keeps" if visit.has_git else "secrets in open files",
            "take them out (DVC's: dvc remote modify --local ..., or AWS_* variables; CI's: its "
            "masked variables) and replace the secrets themselves: the history still shows them",
            found,
        )
    return passed(f"none found in {len(names)} files (older commits were not searched)")


def _places(root: Path, name: str) -> list[str]:
    path = root / name
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            return []
        data = path.read_bytes()
    except OSError:
        return []
    if b"\0" in data:
        return []
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        what = [kind for kind, pattern in _PATTERNS.items() if pattern.search(line)]
        in_dvc = _DVC_SECRET.match(line) if name == _DVC_CONFIG else None
        if in_dvc:
            what = [f"{in_dvc[1]} of a DVC remote"]
        found += [f"{name}, line {number}: {kind}" for kind in what]
    return found
