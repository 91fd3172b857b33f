"""A Dockerfile as tests ask about it: the stages of an image, its variables, its commands."""

import json
import re
import shlex
from pathlib import Path


class Dockerfile:
    """Of one file. `path`: where it lies. Exec-form commands (JSON lists) are understood."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.stages = _stages(self.text)

    def lines(self, target: str) -> list[str]:
        """All instructions of an image, those of the stages below it first."""
        below, own = self.stages[target]
        return [*(self.lines(below) if below in self.stages else []), *own]

    def last(self, target: str, word: str) -> str:
        """The instruction of this kind that holds."""
        return next(line for line in reversed(self.lines(target)) if line.startswith(f"{word} "))

    def command(self, target: str) -> list[str]:
        """What a container of it runs."""
        return _listed(self.last(target, "ENTRYPOINT")) + _listed(self.last(target, "CMD"))

    def health(self, target: str) -> list[str]:
        """What asks it how it is."""
        return _listed(self.last(target, "HEALTHCHECK"))

    def variables(self, target: str) -> dict[str, str]:
        """Its environment, as written."""
        found: dict[str, str] = {}
        for line in self.lines(target):
            if line.startswith("ENV "):
                parts = shlex.split(line.removeprefix("ENV "))
                found |= dict(part.split("=", 1) for part in parts)
        return found


def _stages(text: str) -> dict[str, tuple[str, list[str]]]:
    """Name -> (the stage or image below it, its instructions with their lines joined)."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text))
    found: dict[str, tuple[str, list[str]]] = {}
    own: list[str] = []
    for line in joined.splitlines():
        if begins := re.match(r"FROM (\S+) AS (\S+)", line):
            own = []
            found[begins[2]] = (begins[1], own)
        elif line.strip():
            own.append(line.strip())
    return found


def _listed(line: str) -> list[str]:
    found: list[str] = json.loads(line[line.index("[") :])
    return found
