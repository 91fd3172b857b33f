"""What the doctor found: one finding a check, and all of them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail", "skip"]
_SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """`found`: what was seen; `faults`: each one; `mend`: what to do, empty where all is well."""

    status: Status
    found: str
    mend: str = ""
    faults: tuple[str, ...] = ()
    name: str = ""
    seconds: float = 0.0


def passed(found: str) -> Finding:
    """As it should be."""
    return Finding("pass", found)


def warned(found: str, mend: str, faults: Sequence[str] = ()) -> Finding:
    """Works, but somebody should know."""
    return Finding("warn", found, mend, tuple(faults))


def failed(found: str, mend: str, faults: Sequence[str] = ()) -> Finding:
    """The pipeline cannot run so, or a secret lies open."""
    return Finding("fail", found, mend, tuple(faults))


def skipped(why: str) -> Finding:
    """Not asked."""
    return Finding("skip", why)


@dataclass(frozen=True)
class Report:
    """All findings about one project, in the order they were asked."""

    project: str
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
            "project": self.project,
            "ok": self.ok,
            "checks": [
                {
                    "name": f.name,
                    "status": f.status,
                    "found": f.found,
                    "faults": list(f.faults),
                    "mend": f.mend,
                    "seconds": round(f.seconds, 3),
                }
                for f in self.findings
            ],
        }

    def __str__(self) -> str:
        lines = []
        for f in self.findings:
            status = f.status.upper() if f.status == "fail" else f.status
            lines.append(f"{status:5} {f.name:11} {f.found}")
            lines += [f"{'':17} - {fault}" for fault in f.faults[:_SHOWN]]
            if len(f.faults) > _SHOWN:
                lines.append(f"{'':17} - and {len(f.faults) - _SHOWN} more (--json shows all)")
            if f.mend:
                lines.append(f"{'':17} -> {f.mend}")
        counts = {s: sum(f.status == s for f in self.findings) for s in ("pass", "warn", "fail")}
        lines.append(
            f"{self.project}: {counts['pass']} pass, {counts['warn']} warn, {counts['fail']} fail"
        )
        return "\n".join(lines)
