"""A .gitlab-ci.yml as GitLab reads it: which jobs a pipeline has, in order, with what they need.

Only what the projects' template uses is known; any other key is an error, so that nothing in a
template is passed over in silence.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.config import read_yaml

_TOP = {"stages", "workflow", "variables", "default"}
_JOB = {
    "stage", "script", "before_script", "after_script", "extends", "variables", "needs", "rules",
    "tags", "artifacts", "cache", "retry", "interruptible", "resource_group", "timeout", "image",
}  # fmt: skip
_TERM = re.compile(r'^\s*\$(\w+)\s*(?:(==|!=|=~|!~)\s*(\$\w+|"[^"]*"|/.*/|null)\s*)?$')


@dataclass(frozen=True)
class Job:
    """One job, `extends` and `default` resolved. `retries`: after which failures it runs again."""

    name: str
    stage: str
    before: tuple[str, ...]
    script: tuple[str, ...]
    after: tuple[str, ...]
    variables: Mapping[str, str]
    needs: tuple[str, ...] | None
    tags: tuple[str, ...]
    artifacts: Mapping[str, Any]
    cache: Mapping[str, Any]
    retries: int
    retry_when: frozenset[str]
    retry_codes: frozenset[int]
    rules: tuple[Mapping[str, Any], ...] = ()
    interruptible: bool = False
    resource_group: str | None = None


@dataclass(frozen=True)
class Pipeline:
    """All of a file. `variables`: its own; those of the project and of GitLab come from outside."""

    stages: tuple[str, ...]
    variables: Mapping[str, str]
    workflow: tuple[Mapping[str, Any], ...]
    jobs: tuple[Job, ...] = field(default=())

    @classmethod
    def read(cls, path: Path) -> "Pipeline":
        """Raises AssertionError for what this reader does not know."""
        data = read_yaml(path)
        stages = tuple(data["stages"])
        jobs = [name for name in data if name not in _TOP and not name.startswith(".")]
        made = [_job(name, _resolved(data, name), stages) for name in jobs]
        return cls(
            stages,
            _texts(data.get("variables", {})),
            tuple(data.get("workflow", {}).get("rules", ())),
            tuple(sorted(made, key=lambda job: stages.index(job.stage))),
        )

    def wanted(self, variables: Mapping[str, str]) -> tuple[Job, ...]:
        """The jobs of a pipeline in which these variables are set; none where it is not made."""
        known = dict(self.variables) | dict(variables)
        if self.workflow and not _is_met(self.workflow, known):
            return ()
        return tuple(job for job in self.jobs if not job.rules or _is_met(job.rules, known))


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """`text` with $NAME and ${NAME} in it replaced, as GitLab does; unknown ones become empty."""
    for _ in range(8):  # a variable may name another one
        new = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: variables.get(m[1] or m[2], ""), text)
        if new == text:
            break
        text = new
    return text


def is_true(expression: str, variables: Mapping[str, str]) -> bool:
    """An `if:` of a rule: comparisons joined by && and ||, without parentheses."""
    return any(
        all(_holds(term, variables) for term in part.split("&&")) for part in expression.split("||")
    )


def _holds(term: str, variables: Mapping[str, str]) -> bool:
    found = _TERM.match(term)
    if not found:
        raise AssertionError(f"a rule that is not known here: {term!r}")
    name, sign, other = found.groups()
    value = variables.get(name)
    if sign is None:
        return bool(value)
    if sign in ("=~", "!~"):
        return bool(re.search(other.strip("/"), value or "")) == (sign == "=~")
    wanted = None if other == "null" else other.strip('"')
    if other.startswith("$"):
        wanted = variables.get(other[1:])
    return (value == wanted) == (sign == "==")


def _is_met(rules: tuple[Mapping[str, Any], ...], variables: Mapping[str, str]) -> bool:
    for rule in rules:
        if rule.keys() - {"if", "when"}:
            raise AssertionError(f"a rule that is not known here: {rule}")
        if "if" not in rule or is_true(rule["if"], variables):
            return bool(rule.get("when", "always") != "never")
    return False


def _resolved(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A job with what it extends under it: maps are merged, all else is replaced."""
    own = dict(data[name])
    parents = own.pop("extends", ())
    made: dict[str, Any] = dict(data.get("default", {}))
    for parent in [parents] if isinstance(parents, str) else parents:
        made = _merged(made, _resolved(data, parent))
    return _merged(made, own)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {k: _merged(under[k], v) for k, v in over.items() if _maps(under.get(k), v)}
    return under | over | both


def _maps(one: Any, two: Any) -> bool:
    return isinstance(one, dict) and isinstance(two, dict)


def _job(name: str, data: Mapping[str, Any], stages: tuple[str, ...]) -> Job:
    unknown = data.keys() - _JOB
    if unknown or data["stage"] not in stages:
        raise AssertionError(f"job {name}: not known here: {sorted(unknown) or data['stage']}")
    needs = data.get("needs")
    retry = data.get("retry", {})
    retry = {"max": retry} if isinstance(retry, int) else retry
    return Job(
        name=name,
        stage=data["stage"],
        before=_lines(data.get("before_script", ())),
        script=_lines(data["script"]),
        after=_lines(data.get("after_script", ())),
        variables=_texts(data.get("variables", {})),
        needs=None
        if needs is None
        else tuple(n if isinstance(n, str) else n["job"] for n in needs),
        tags=tuple(data.get("tags", ())),
        artifacts=data.get("artifacts", {}),
        cache=data.get("cache", {}),
        retries=retry.get("max", 0),
        retry_when=frozenset(_lines(retry.get("when", () if "exit_codes" in retry else "always"))),
        retry_codes=frozenset(retry.get("exit_codes", ())),
        rules=tuple(data.get("rules", ())),
        interruptible=data.get("interruptible", False),
        resource_group=data.get("resource_group"),
    )


def _lines(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
