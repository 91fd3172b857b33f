"""Where we are, read once from the environment that GitLab's and GitHub's CI give to their jobs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from teststrip.errors import ConfigError
from teststrip.guard import is_loopback

GITLAB_TOKEN, GITHUB_TOKEN = "TESTSTRIP_GITLAB_TOKEN", "GITHUB_TOKEN"
MAX_EVENT_BYTES = 30_000_000  # GitHub sends events of up to 25 MB


@dataclass(frozen=True)
class Place:
    """A job of a pipeline, and the merge request that it belongs to.

    `api`: address of the REST interface. `project`: GitLab's number of the project that the merge
    request goes to, or GitHub's owner/name. `number`: of the merge request there, None: this job
    belongs to none. `run`: grows with each pipeline. `web`: the project's pages. `job`: the page
    with what this job keeps. `checkout`: the repository's folder. `obstacle`: why nothing can be
    posted from here, with what to do; empty where it can. `is_lesser`: a fork's pull request or
    Dependabot's, whose token may only read.
    """

    forge: Literal["gitlab", "github"]
    api: str
    project: str
    number: int | None
    run: int
    web: str
    job: str
    checkout: Path
    commit: str = ""
    token: str = field(default="", repr=False)
    obstacle: str = ""
    is_lesser: bool = False
    graphql: str = ""
    summary: Path | None = None
    certificates: Path | None = None

    def link(self, file: Path) -> str:
        """The page where a file of this job can be seen; empty where it is not kept."""
        if not self.job:
            return ""
        if self.forge == "github":
            return f"{self.job}#artifacts"  # GitHub has no page for one file of an artifact
        try:
            inside = file.resolve().relative_to(self.checkout.resolve())
        except ValueError:
            return ""
        return f"{self.job}/artifacts/file/{quote(inside.as_posix())}"


def place_from(environ: Mapping[str, str]) -> Place | None:
    """The place of this job; None outside CI. Raises ConfigError with every fault."""
    if environ.get("GITLAB_CI") == "true":
        return _gitlab(environ)
    if environ.get("GITHUB_ACTIONS") == "true":
        return _github(environ)
    return None


def _gitlab(environ: Mapping[str, str]) -> Place:
    faults: list[str] = []
    iid = environ.get("CI_MERGE_REQUEST_IID", "")
    token = _token(environ, GITLAB_TOKEN, faults)
    ours, theirs = environ.get("CI_PROJECT_ID"), environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    target = environ.get("CI_MERGE_REQUEST_PROJECT_ID") or ours or ""
    certificates = environ.get("CI_SERVER_TLS_CA_FILE", "")
    place = Place(
        forge="gitlab",
        api=_address(environ, "CI_API_V4_URL", faults),
        project=str(_number("CI_MERGE_REQUEST_PROJECT_ID or CI_PROJECT_ID", target, faults)),
        number=_number("CI_MERGE_REQUEST_IID", iid, faults) if iid else None,
        run=_number("CI_PIPELINE_ID", environ.get("CI_PIPELINE_ID", "0"), faults),
        web=environ.get("CI_MERGE_REQUEST_PROJECT_URL") or environ.get("CI_PROJECT_URL", ""),
        job=environ.get("CI_JOB_URL", ""),
        checkout=Path(environ.get("CI_PROJECT_DIR", ".")),
        commit=environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
        or environ.get("CI_COMMIT_SHA", ""),
        token=token,
        obstacle=_obstacle_gitlab(token, environ.get("CI_JOB_TOKEN", "")),
        is_lesser=bool(theirs) and theirs != target,
        certificates=Path(certificates) if certificates else None,
    )
    _refuse(faults, "GitLab's CI")
    return place


def _obstacle_gitlab(token: str, job_token: str) -> str:
    if not token:
        return (
            f"{GITLAB_TOKEN} is not set: make a project access token (role Reporter, scope api) "
            "and put it into the project's CI/CD variables, masked and not protected (a protected "
            "variable is not given to merge requests of other branches)"
        )
    if token == job_token or token.startswith("glcbt-"):
        return (
            f"{GITLAB_TOKEN} holds CI_JOB_TOKEN, which may not write notes; put a project access "
            "token (role Reporter, scope api) there"
        )
    return ""


def _github(environ: Mapping[str, str]) -> Place:
    faults: list[str] = []
    event = _event(environ.get("GITHUB_EVENT_PATH", ""), faults)
    project, server = environ.get("GITHUB_REPOSITORY", ""), environ.get("GITHUB_SERVER_URL", "")
    if project.count("/") != 1:
        faults.append(f"GITHUB_REPOSITORY: owner/name is expected (got {project!r})")
    run, token = environ.get("GITHUB_RUN_ID", "0"), _token(environ, GITHUB_TOKEN, faults)
    api = _address(environ, "GITHUB_API_URL", faults)
    graphql = _address(environ, "GITHUB_GRAPHQL_URL", faults)
    if urlsplit(api).netloc != urlsplit(graphql).netloc:
        faults.append("GITHUB_API_URL and GITHUB_GRAPHQL_URL name different servers")
    summary = environ.get("GITHUB_STEP_SUMMARY", "")
    place = Place(
        forge="github",
        api=api,
        graphql=graphql,
        project=project,
        number=_pull_request(event, environ.get("GITHUB_REF", "")),
        run=_number("GITHUB_RUN_ID", run, faults),
        web=f"{server}/{project}",
        job=f"{server}/{project}/actions/runs/{run}" if server else "",
        checkout=Path(environ.get("GITHUB_WORKSPACE", ".")),
        commit=_of(event, "pull_request", "head", "sha") or environ.get("GITHUB_SHA", ""),
        token=token,
        obstacle=""
        if token
        else f"{GITHUB_TOKEN} is not set: give it to the step, env: "
        f"{GITHUB_TOKEN}: ${{{{ github.token }}}}, and the job permissions: pull-requests: write",
        is_lesser=environ.get("GITHUB_ACTOR") == "dependabot[bot]"
        or _of(event, "pull_request", "head", "repo", "full_name")
        != _of(event, "pull_request", "base", "repo", "full_name"),
        summary=Path(summary) if summary else None,
    )
    _refuse(faults, "GitHub's Actions")
    return place


def _pull_request(event: Any, ref: str) -> int | None:
    number = _of(event, "pull_request", "number")
    if isinstance(number, int):
        return number
    parts = ref.split("/")  # refs/pull/7/merge
    is_one = len(parts) == 4 and parts[:2] == ["refs", "pull"] and parts[2].isdecimal()
    return int(parts[2]) if is_one else None


def _event(path: str, faults: list[str]) -> Any:
    """What happened, as GitHub wrote it down for the job."""
    if not path:
        return {}
    try:
        with Path(path).open("rb") as file:
            return json.loads(file.read(MAX_EVENT_BYTES))
    except (OSError, ValueError) as exc:
        faults.append(f"GITHUB_EVENT_PATH={path}: cannot be read: {exc}")
        return {}


def _of(data: Any, *names: str) -> Any:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _address(environ: Mapping[str, str], name: str, faults: list[str]) -> str:
    """An address that a token may be sent to: https, or this machine."""
    given = environ.get(name, "").rstrip("/")
    try:
        parts = urlsplit(given)
        host, is_safe = parts.hostname or "", not (parts.username or parts.query or parts.fragment)
        is_fine = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
        is_fine = is_fine and bool(host) and is_safe and parts.port != 0
        is_fine = is_fine and given.isascii() and given.isprintable() and " " not in given
    except ValueError:  # a port that is no number, half an IPv6 address
        is_fine = False
    if not is_fine:
        faults.append(
            f"{name}: an https:// address is expected, for a token is sent there (got {given!r})"
        )
    return given


def _token(environ: Mapping[str, str], name: str, faults: list[str]) -> str:
    """A token as a header takes it; a line's end that was pasted with it does not count."""
    token = environ.get(name, "").strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        faults.append(f"{name}: holds characters that no token has; copy it again")
    return token


def _number(name: str, given: str, faults: list[str]) -> int:
    if given.isdecimal() and len(given) < 19:
        return int(given)
    faults.append(f"{name}: a number is expected (got {given[:40]!r})")
    return 0


def _refuse(faults: list[str], whose: str) -> None:
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"environment of {whose}: {count}", faults)
