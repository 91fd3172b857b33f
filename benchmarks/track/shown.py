#!/usr/bin/env python
"""The tracking server as deploy/vm installs it, used and attacked on this machine.

    python benchmarks/track/shown.py --out docs/deploy/vm-shown.md

PostgreSQL at its socket, a bucket with keys, `track serve` and Caddy with TLS are started from
deploy/vm's own unit files, settings and Caddyfile, as install.sh wrote them. A client elsewhere
runs a study, a training and a promotion; strangers and other users try what they may not. Then
backup, restore and new passwords. Needs PostgreSQL and rsync; Caddy is fetched where it is missing.
"""

import argparse
import sys
import time
from pathlib import Path

from vm_client import Client, work
from vm_keeping import keeping
from vm_machine import Machine
from vm_refused import certificates, other_people, strangers


class Seen:
    """Rows of what was expected and what was seen; `wrong` are those that differ."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, list[tuple[str, str, str]]]] = []
        self.wrong: list[str] = []

    def part(self, title: str) -> None:
        """What follows is about this."""
        self.parts.append((title, []))

    def say(self, what: str, expected: str, seen: str) -> None:
        """One row."""
        is_right = seen == expected
        self.parts[-1][1].append((what, expected, seen))
        print(f"{'   ' if is_right else '!! '}{what}: {seen}", flush=True)
        if not is_right:
            self.wrong.append(f"{what}: expected {expected}, seen {seen}")

    def page(self, seconds: float) -> str:
        """All of it as Markdown."""
        count = sum(len(rows) for _, rows in self.parts)
        lines = [
            "# One VM, shown",
            "",
            "Written by `python benchmarks/track/shown.py --out docs/deploy/vm-shown.md`: "
            f"{count} checks in {seconds:.0f} s, {len(self.wrong)} not as expected.",
            "",
            "PostgreSQL (socket alone), an S3 server that checks signatures, "
            "`teststrip track serve` and Caddy run from the unit files, settings and Caddyfile "
            "that `deploy/vm/install.sh` wrote. Not run here: systemd itself (users, sandbox, "
            "timers) and Let's Encrypt.",
        ]
        for title, rows in self.parts:
            lines += ["", f"## {title}", "", "| what | expected | seen |", "|---|---|---|"]
            lines += [
                "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
            ]
        return "\n".join([*lines, ""])


def main() -> int:
    """Run all; 1 where anything was not as expected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file")
    parser.add_argument("--quick", action="store_true", help="without study and training")
    given = parser.parse_args()
    began, seen = time.monotonic(), Seen()
    with Machine() as machine:
        try:
            everything(machine, seen, is_quick=given.quick)
        except BaseException:
            print(machine.logs(), file=sys.stderr)
            raise
    page = seen.page(time.monotonic() - began)
    if given.out:
        given.out.write_text(page, encoding="utf-8")
    for line in seen.wrong:
        print(f"not as expected: {line}", file=sys.stderr)
    return 1 if seen.wrong else 0


def everything(machine: Machine, seen: Seen, *, is_quick: bool) -> None:
    """All parts in order."""
    admin = Client(machine, ("admin", machine.admin_password), machine.folder / "admin")
    people = {}
    for name in ("ann", "ben"):
        said = admin.json("track", "users", "add", name, "--generate")
        people[name] = (name, str(said["password"]))
    ann = Client(machine, people["ann"], machine.folder / "ann")
    if not is_quick:
        seen.part("A client without keys: a study, a promotion, a training")
        work(ann, seen.say)
    seen.part("Strangers")
    strangers(machine, seen.say)
    seen.part("Certificates")
    certificates(machine, ann, seen.say)
    seen.part("Other people's experiments")
    other_people(machine, people["ann"], people["ben"], seen.say)
    seen.part("Kept in order")
    keeping(machine, admin, seen.say)


if __name__ == "__main__":
    sys.exit(main())
