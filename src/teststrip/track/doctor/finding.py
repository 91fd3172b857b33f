"""What the doctor found: one finding a check, and all of them together."""

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """`found`: what was seen; `mend`: what to do, empty where nothing is amiss."""

    status: Status
    found: str
    mend: str = ""
    name: str = ""
    seconds: float = 0.0


def passed(found: str) -> Finding:
    """As it should be."""
    return Finding("pass", found)


def warned(found: str, mend: str) -> Finding:
    """Works, but somebody should know."""
    return Finding("warn", found, mend)


def failed(found: str, mend: str) -> Finding:
    """Teststrip cannot work so, or strangers can."""
    return Finding("fail", found, mend)


def skipped(why: str) -> Finding:
    """Not asked."""
    return Finding("skip", why)


@dataclass(frozen=True)
class Report:
    """All findings of one server, in the order they were asked."""

    address: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings are no failures."""
        return not any(f.status == "fail" for f in self.findings)

    def __getitem__(self, name: str) -> Finding:
        return next(f for f in self.findings if f.name == name)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "address": self.address,
            "ok": self.ok,
            "checks": [
                {
                    "name": f.name,
                    "status": f.status,
                    "found": f.found,
                    "mend": f.mend,
                    "seconds": round(f.seconds, 3),
                }
                for f in self.findings
            ],
        }

    def __str__(self) -> str:
        lines = []
        for f in self.findings:
            lines.append(
                f"{f.status.upper() if f.status == 'fail' else f.status:5} {f.name:17} {f.found}"
            )
            if f.mend:
                lines.append(f"{'':23} -> {f.mend}")
        counts = {s: sum(f.status == s for f in self.findings) for s in ("pass", "warn", "fail")}
        lines.append(
            f"{self.address}: {counts['pass']} pass, {counts['warn']} warn, {counts['fail']} fail"
        )
        return "\n".join(lines)
