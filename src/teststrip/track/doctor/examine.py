"""The whole examination: which checks, in which order, and what each of them needs before it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from teststrip.errors import StorageError
from teststrip.track.doctor import login, network, writing
from teststrip.track.doctor.finding import Finding, Report, failed, skipped
from teststrip.track.doctor.visit import Visit
from teststrip.track.rest import Refused


@dataclass(frozen=True)
class Check:
    """`needs`: a check without which this one can say nothing."""

    name: str
    look: Callable[[Visit], Finding]
    needs: str = ""
    mend: str = "see the server's log"


MAY = "may this user do that? An administrator gives rights: teststrip track users grant"
# Wrong log-ins come last: a brake on guessing must not spoil the other checks.
CHECKS = (
    Check("address", network.address),
    Check("certificate", network.certificate, "address"),
    Check("health", network.health, "certificate", "is the server up, and the port right?"),
    Check("strangers", login.strangers, "health"),
    Check("host", network.host, "health"),
    Check("login", login.login, "host"),
    Check("versions", network.versions, "login"),
    Check("clock", network.clock, "health"),
    Check("run", writing.run, "login", MAY),
    Check("proxied", writing.proxied, "run"),
    Check("images", writing.images, "proxied", MAY),
    Check("large", writing.large, "images", MAY),
    Check("registry", writing.registry, "images", MAY),
    Check("latency", network.latency, "login"),
    Check("other host", network.other_host, "login"),
    Check("other origin", network.other_origin, "login"),
    Check("sign-up", login.sign_up, "host"),
    Check("metrics", login.metrics, "host"),
    Check("wrong login", login.wrong_login, "host"),
    Check("default password", login.default_password, "host"),
)


def examine(visit: Visit) -> Report:
    """Ask everything, tidy up whatever happens. Raises nothing that the server causes."""
    found: dict[str, Finding] = {}
    try:
        for check in CHECKS:
            found[check.name] = _asked(check, visit, found)
    finally:
        tidy = _asked(Check("tidy", writing.tidy), visit, {})
        visit.rest.close()
    if visit.experiment_id:
        found["tidy"] = tidy
    return Report(visit.rest.address, tuple(found.values()))


def _asked(check: Check, visit: Visit, found: dict[str, Finding]) -> Finding:
    before = found.get(check.needs)
    if before is not None and (before.status == "fail" or _is_lost(check.needs, found)):
        return replace(skipped(f"needs: {check.needs}"), name=check.name)
    started = time.monotonic()
    try:
        finding = check.look(visit)
    except Refused as exc:
        finding = failed(str(exc), check.mend)
    except StorageError as exc:
        finding = failed(str(exc), "is the server up, and nothing on the way in between?")
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        what = f"an answer of another shape than MLflow's ({type(exc).__name__}: {exc})"
        finding = failed(what, "is this MLflow, and does a proxy change its answers?")
    return replace(finding, name=check.name, seconds=time.monotonic() - started)


def _is_lost(name: str, found: dict[str, Finding]) -> bool:
    """Whether a check was left out because of another that failed."""
    check = next(c for c in CHECKS if c.name == name)
    before = found.get(check.needs)
    if before is None:
        return False
    return before.status == "fail" or _is_lost(check.needs, found)
