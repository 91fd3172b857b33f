"""What is written for other programs is read by them: scripts, YAML, Dockerfiles, workflows.

Files are found by their names, so that a new one is checked without anybody thinking of it.
"""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy
REPOSITORY = Path(__file__).parents[2]
NOT_OURS = {"demo", "build", "dist", "node_modules", "teststrip-data", "__pycache__"}
SHELL = re.compile(rb"^#!\s*/\S+(/env )?\b(ba|da|z|k)?sh\b")
# A word to a checker that it shall be silent. What follows it, or the line before, says why.
SILENCED = re.compile(
    r"(shellcheck disable=[\w,]+|hadolint (global )?ignore=[\w,]+|yamllint disable\S*( rule:\S+)?"
    r"|zizmor: ignore\[[^\]]+\]|checkov:skip=\w+|tflint-ignore: ?\S+|promlint:ignore)(.*)"
)


def ours() -> list[Path]:
    """Every file of the repository, but hidden folders and what programs made."""
    found = []
    for folder, inside, names in os.walk(REPOSITORY):
        inside[:] = [n for n in inside if n not in NOT_OURS and (n[0] != "." or n == ".github")]
        found += [Path(folder) / name for name in names]
    return sorted(found)


FILES = ours()
YAML = [p for p in FILES if p.suffix in (".yaml", ".yml")]
WORKFLOWS = [p for p in YAML if p.parent.name == "workflows"]
DOCKERFILES = [
    p for p in FILES if re.fullmatch(r"(.*\.)?Dockerfile(\.(?!dockerignore).*)?", p.name)
]
COMPOSE = [p for p in YAML if p.name.startswith(("compose.", "docker-compose."))]
# A schema that check-jsonschema brings with it, by where such a file lies.
KNOWN = {
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/renovate.json": "vendor.renovate",
    ".readthedocs.yaml": "vendor.readthedocs",
    "codecov.yml": "vendor.codecov",
}


def is_script(path: Path) -> bool:
    if path.suffix in (".sh", ".bash"):
        return True
    if path.suffix or not path.stat().st_mode & 0o111:
        return False
    with path.open("rb") as file:
        return bool(SHELL.match(file.readline()))


SCRIPTS = [p for p in FILES if is_script(p)]


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_shellcheck_finds_nothing(path, tool):
    tool("shellcheck", "--external-sources", path)


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_a_script_takes_no_name_that_is_not_set(path):
    """`rm -r "$folder/"` with no folder."""
    assert re.search(r"^set -e?uo? ?(pipefail)?$", path.read_text(), re.MULTILINE)


def test_yamllint_finds_nothing(tool):
    assert YAML
    tool("yamllint", "--strict", ".")


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_hadolint_finds_nothing(path, tool):
    tool("hadolint", path)


@pytest.mark.parametrize("path", COMPOSE, ids=named)
def test_a_compose_file_is_one_by_its_own_schema(path, tool):
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_workflows_and_their_kin_have_no_fault(tool):
    """There are none now; the day there is one it is checked."""
    for path in WORKFLOWS:
        tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
        tool("zizmor", "--offline", "--pedantic", path)
    for name, schema in KNOWN.items():
        if (REPOSITORY / name).exists():
            tool("check-jsonschema", "--builtin-schema", schema, REPOSITORY / name)


def test_terraform_is_formatted_as_terraform_does(tool, deploy):
    tool("terraform", "fmt", "-check", "-recursive", "-diff", deploy)


BAD = {
    "shellcheck": ("x.sh", "#!/bin/sh\nrm -r $1/*\n", ["shellcheck"]),
    "yamllint": ("x.yaml", "a: 1\na: 2\n", ["yamllint", "--strict"]),
    "hadolint": ("Dockerfile", "FROM python:latest\nRUN cd /x\n", ["hadolint"]),
    "compose": (
        "compose.yaml",
        "services: {web: {image: x, prots: []}}\n",
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"],
    ),
    "workflow": (
        "x.yml",
        "on: push\njobs: {a: {runs-on: x, stepz: []}}\n",
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
    ),
    "zizmor": (
        "x.yml",
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: echo ${{ github.event.pull_request.title }}\n",
        ["zizmor", "--offline"],
    ),
    "terraform": ("x.tf", 'variable "a" {\ntype=string\n}\n', ["terraform", "fmt", "-check"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_checker_refuses_what_is_wrong(kind, tool, tmp_path):
    name, text, command = BAD[kind]
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / name).write_text(text)

    tool(*command, folder / name, rc=(1, 3, 11, 12, 13, 14))


def reasonless(lines: list[str]) -> list[int]:
    """Lines that silence a checker, with no word of why: behind it, or in a comment above it."""
    found = []
    for number, line in enumerate(lines):
        silenced = SILENCED.search(line)
        if not silenced:
            continue
        behind = silenced[4].strip(" #-:")
        above = lines[number - 1].strip() if number else ""
        is_told = above.startswith("#") and not SILENCED.search(above)
        if not re.search(r"[A-Za-z]{3}", behind) and not is_told:
            found.append(number + 1)
    return found


def test_whoever_silences_a_checker_says_why():
    for path in FILES:
        if path.suffix in (".sh", ".yaml", ".yml", ".tf", ".toml") or path in DOCKERFILES + SCRIPTS:
            assert reasonless(path.read_text().splitlines()) == [], path
    rules = (REPOSITORY / ".yamllint.yaml").read_text().splitlines()
    for number, line in enumerate(rules):
        if line.endswith(": disable") or line.strip().startswith("ignore:"):
            near = rules[max(number - 1, 0) : number + 5]
            assert any(part.strip().startswith("#") for part in near), line


def test_a_silence_without_a_word_is_found():
    assert reasonless(["# shellcheck disable=SC2086", "x"]) == [1]
    assert reasonless(["# shellcheck disable=SC2086 # words are meant"]) == []
    assert reasonless(["# words are meant", "# hadolint ignore=DL3008"]) == []


def test_no_key_of_a_cloud_is_in_a_file():
    """The seeds' fault: a JSON key, AWS keys in an env file."""
    keys = re.compile(
        r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|\"private_key\": ?\"|ya29\.[\w-]{20}"
    )
    for path in FILES:
        if "deploy" in path.parts and "tests" not in path.parts:
            assert not keys.search(path.read_text(errors="replace")), path
