"""Votes from a file: CSV, JSON or JSON lines, checked as a whole, every fault with its line.

A vote has `prompt_id` (or `prompt`, its text), `seed`, `left` and `right` (recipe ids) and
`choice`: `left`, `right`, `tie` or `skip` (dropped); also 1, 2 and 0. `rater` and `id` may be
missing, other columns are not read.
"""

import csv
import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.evidence.people import Vote
from teststrip.recipe import MAX_PROMPT_CHARS, short_hash

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 64_000_000
MAX_VOTES = 1_000_000
MAX_TEXT = 200
SHORTEST_ID = 4
FAULTS_SHOWN = 20
SKIP = "skip"
CHOICES = {
    "left": "left",
    "right": "right",
    "tie": "tie",
    "1": "left",
    "2": "right",
    "0": "tie",
    SKIP: SKIP,
}
NEEDED = ("seed", "left", "right", "choice")


def read(path: Path, table: "pd.DataFrame | None" = None) -> list[Vote]:
    """The votes of a `.csv`, `.json` or `.jsonl` file.

    With the study's `table`, votes must be on its recipes, prompts and seeds; recipe ids may then
    be shortened to a start that only one has, and prompts may be named by their text. Each vote
    gets a `vote_id`: the file's own `id`, or a hash of its fields and of how often they came
    before, so that the same file read twice gives the same ids. Raises ConfigError with every
    fault (the first 20 and their number).
    """
    readers = {".csv": _csv_rows, ".json": _json_rows, ".jsonl": _line_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path}: a .csv, .json or .jsonl file is read, got {path.suffix!r}")
    known = None if table is None else Known.of(table)
    votes: list[Vote] = []
    faults, ids = Faults(path), Counter[str]()
    for where, row in reader(path, _text(path), faults):
        if len(votes) >= MAX_VOTES:
            raise ConfigError(f"{path}: more than {MAX_VOTES} votes; split the file")
        vote = _vote(where, row, known, faults)
        if vote is None:
            continue
        if not vote.vote_id:
            fields = [vote.prompt_id, vote.seed, vote.left, vote.right, vote.choice, vote.rater]
            name = short_hash(fields, 16)
            ids[name] += 1
            vote = replace(vote, vote_id=f"{name}-{ids[name]}")
        elif ids[f"id {vote.vote_id}"]:
            faults.add(where, f"id {vote.vote_id!r} was used before")
        ids[f"id {vote.vote_id}"] += 1
        votes.append(vote)
    faults.settle()
    if not votes:
        raise ConfigError(f"{path}: holds no votes (skipped pairs do not count)")
    return votes


class Faults:
    """What is wrong with a file: the first faults, and how many there are."""

    def __init__(self, path: Path) -> None:
        self._path, self._lines, self._count = path, list[str](), 0

    def add(self, where: str, what: str) -> None:
        """Note a fault; `where` is `line 7` or `vote 7`."""
        self._count += 1
        if self._count <= FAULTS_SHOWN:
            self._lines.append(f"{where}: {what}")

    def settle(self) -> None:
        """Raise ConfigError if there were any."""
        if self._count > FAULTS_SHOWN:
            self._lines.append(f"and {self._count - FAULTS_SHOWN} more")
        if self._count:
            raise ConfigError(f"{self._path}: {self._count} faults; nothing was read", self._lines)


@dataclass(frozen=True)
class Known:
    """What a study's table has: recipe ids, prompt ids by text, the seeds of each prompt."""

    recipes: dict[str, str]
    prompts: Mapping[str, set[str]]
    seeds: Mapping[str, set[int]]

    @classmethod
    def of(cls, table: "pd.DataFrame") -> "Known":
        """From the table as `evidence.table.checked` returns it."""
        prompts, seeds = defaultdict[str, set[str]](set), defaultdict[str, set[int]](set)
        blocks = table.drop_duplicates(["prompt_id", "seed"])
        for name, text, seed in blocks[["prompt_id", "prompt", "seed"]].itertuples(index=False):
            prompts[str(text)].add(str(name))
            seeds[str(name)].add(int(seed))
        return cls({str(r): str(r) for r in table["recipe_id"].unique()}, prompts, seeds)

    def recipe(self, text: str) -> str:
        """The recipe's whole id. Raises ValueError where none or several begin so."""
        if text not in self.recipes:
            long = len(text) >= SHORTEST_ID
            found = [r for r in self.recipes if r.startswith(text)] if long else []
            if len(found) != 1:
                which = f"{len(found)} recipes begin so" if found else "no recipe of the study"
                raise ValueError(f"{text!r}: {which}")
            self.recipes[text] = self.recipes[found[0]]
        return self.recipes[text]

    def prompt(self, name: str, text: str) -> str:
        """The prompt's id, from its id or its text. Raises ValueError if the study has none."""
        if name:
            if name not in self.seeds:
                raise ValueError(f"prompt_id {name!r}: no prompt of the study")
            return name
        found = self.prompts.get(text, set())
        if len(found) != 1:
            which = f"{len(found)} prompts have this text" if found else "no prompt of the study"
            raise ValueError(f"prompt {text[:60]!r}: {which}; give its prompt_id")
        return next(iter(found))


def _vote(where: str, row: Mapping[str, Any], known: Known | None, faults: Faults) -> Vote | None:
    """One row as a vote; None if it was skipped or is wrong (then `faults` has it)."""
    before: list[str] = []
    text = {
        name: _short(row.get(name), name, before)
        for name in ("prompt_id", "prompt", "left", "right", "choice", "rater", "id")
    }
    choice = CHOICES.get(text["choice"].lower())
    if choice is None:
        before.append(f"choice {text['choice']!r}: left, right, tie or skip (1, 2, 0) are accepted")
    seed = _seed(row.get("seed"), before)
    sides: dict[str, str] = {}
    for side in ("left", "right"):
        try:
            sides[side] = known.recipe(text[side]) if known else text[side]
        except ValueError as exc:
            before.append(f"{side} {exc}")
        if not text[side]:
            before.append(f"{side}: is empty")
    if sides.get("left") and sides.get("left") == sides.get("right"):
        before.append(f"left and right are the same recipe {sides['left']!r}")
    prompt = text["prompt_id"] or text["prompt"]
    if not prompt:
        before.append("prompt_id: is empty, and so is prompt")
    elif known:
        try:
            prompt = known.prompt(text["prompt_id"], text["prompt"])
            if seed is not None and seed not in known.seeds[prompt]:
                before.append(f"seed {seed}: the study has no image of prompt {prompt} with it")
        except ValueError as exc:
            before.append(str(exc))
    for fault in before:
        faults.add(where, fault)
    if before or choice in (None, SKIP) or seed is None:
        return None
    return Vote(prompt, seed, sides["left"], sides["right"], str(choice), text["rater"], text["id"])


def _short(value: Any, name: str, faults: list[str]) -> str:
    most = MAX_PROMPT_CHARS if name == "prompt" else MAX_TEXT
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | list | dict):
        faults.append(f"{name}: text is accepted, got {type(value).__name__}")
        return ""
    text = str(value).strip()
    if len(text) > most:
        faults.append(f"{name}: {len(text)} characters, at most {most} are accepted")
        return ""
    if not text.isprintable() and name != "prompt":
        faults.append(f"{name}: {text[:40]!r} holds characters that cannot be printed")
        return ""
    return text


def _seed(value: Any, faults: list[str]) -> int | None:
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or len(text) > 10:
        faults.append(f"seed {str(value)[:40]!r}: a whole number from 0 to 4294967295 is accepted")
        return None
    if int(text) >= 2**32:
        faults.append(f"seed {text}: a whole number from 0 to 4294967295 is accepted")
        return None
    return int(text)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read; split the file"
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {exc.start})") from exc


def _csv_rows(path: Path, text: str, faults: Faults) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip().lower() for name in next(lines, [])]
        missing = [name for name in NEEDED if name not in names]
        if not {"prompt_id", "prompt"} & set(names):
            missing.insert(0, "prompt_id")
        if missing:
            needed = f"prompt_id or prompt, {', '.join(NEEDED)}"
            raise ConfigError(
                f"{path}: no column {', '.join(missing)} in its first line; needed: {needed}"
            )
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"line {lines.line_num}"
            if len(cells) != len(names):
                faults.add(where, f"{len(cells)} cells, the first line has {len(names)}")
                continue
            yield where, dict(zip(names, cells, strict=True))
    except csv.Error as exc:
        raise ConfigError(f"{path}: line {lines.line_num} is no CSV: {exc}") from exc


def _json_rows(path: Path, text: str, faults: Faults) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: is no JSON: {exc}") from exc
    rows = data.get("votes") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: a list of votes is read, or an object with `votes`")
    for number, row in enumerate(rows, 1):
        yield from _object(f"vote {number}", row, faults)


def _line_rows(path: Path, text: str, faults: Faults) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            faults.add(f"line {number}", f"is no JSON: {exc}")
            continue
        yield from _object(f"line {number}", row, faults)


def _object(where: str, row: Any, faults: Faults) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(row, dict):
        yield where, row
    else:
        faults.add(where, f"an object is accepted, got {type(row).__name__}")
