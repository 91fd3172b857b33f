"""The code of README.md and docs/*.md runs.

```sh and ```python blocks run, in order, in one empty folder per document. ```yaml file=NAME (any
language) writes the block to NAME for the blocks after it. All else (```console, ```text, no
language) is for reading only.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Code(NamedTuple):
    language: str
    file: str | None
    text: str
    line: int


def codes(text: str) -> list[Code]:
    """The blocks of a Markdown text that run or are written to a file."""
    found = []
    for match in FENCE.finditer(text):
        file = re.search(r"\bfile=([\w.-]+)", match[2])
        if file or match[1] in ("sh", "python"):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Code(match[1], file and file[1], match[3], line))
    return found


DOCUMENTS = {
    str(path.relative_to(ROOT)): codes(path.read_text(encoding="utf-8"))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}


@pytest.mark.parametrize("name", [name for name, found in DOCUMENTS.items() if found])
def test_the_code_of_a_document_runs(name, tmp_path, monkeypatch):
    work, programs = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    programs.mkdir()
    teststrip = programs / "teststrip"
    teststrip.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m teststrip "$@"\n')
    teststrip.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(work)
    scope: dict[str, Any] = {"__name__": "__main__"}

    for code in DOCUMENTS[name]:
        where = f"{name}:{code.line}"
        if code.file:
            (work / code.file).write_text(code.text, encoding="utf-8")
        elif code.language == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code.text],
                capture_output=True,
                check=False,
                text=True,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * code.line + code.text, where, "exec"), scope)


def test_blocks_are_found_by_their_language_and_file():
    text = "```sh\nls\n```\n\n```text\nno\n```\n\n```yaml file=a.yaml\nx: 1\n```\n"

    assert codes(text) == [Code("sh", None, "ls\n", 1), Code("yaml", "a.yaml", "x: 1\n", 9)]
