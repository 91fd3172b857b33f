"""What changed between two revisions: parameters, and which stages ran again and why."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teststrip.evidence.numbers import duration
from teststrip.project.layout import STAGES, Stage
from teststrip.project.machine import differs
from teststrip.project.report.results import Results, flat

SAME, AGAIN, NEW, GONE, NEVER = "as before", "ran again", "new", "gone", "no record"
ABSENT = "–"
MOST_NAMED, MOST_FILES = 4, 2
MADE_WITH_MODEL = ("train", "select", "infer", "study")


@dataclass(frozen=True)
class Changed:
    """A parameter: its values in YAML's words."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Ran:
    """A stage: whether it ran again, and why; both lock records in one line each."""

    stage: str
    state: str
    why: tuple[str, ...]
    before: str
    after: str


def parameters(before: Results, after: Results) -> tuple[Changed, ...]:
    """Keys of params.yaml whose values differ, in the later file's order."""
    old, new = flat(before.params), flat(after.params)
    return tuple(
        Changed(name, _value(old, name), _value(new, name))
        for name in [*new, *(name for name in old if name not in new)]
        if name not in old or name not in new or not _same(old[name], new[name])
    )


def stages(before: Results, after: Results) -> tuple[Ran, ...]:
    """Each stage of the later project, by both lock records."""
    return tuple(
        _ran(stage.name, before.records.get(stage.name), after.records.get(stage.name))
        for stage in STAGES[after.kind]  # type: ignore[index]
        if stage.name != "report"
    )


def elsewhere(before: Results, after: Results) -> tuple[str, ...]:
    """What differs beside the change itself: device, versions, code. It may be the cause."""
    out: dict[str, list[str]] = {}
    for stage in MADE_WITH_MODEL:
        old, new = before.records.get(stage), after.records.get(stage)
        if old is not None and new is not None:
            for text in [*_machine(old, new), *_code(old, new)]:
                out.setdefault(text, []).append(stage)
    return tuple(
        f"{', '.join(names)}: {text}. What is seen here may come from that."
        for text, names in out.items()
    )


def stale(results: Results) -> tuple[str, ...]:
    """Results that do not belong to the parameters beside them, or were changed since."""
    out = []
    for stage in STAGES[results.kind]:  # type: ignore[index]
        record = results.records.get(stage.name)
        if record is None or stage.name == "report":
            continue
        keys = _other_params(stage, record, results.params)
        if keys:
            out.append(
                f"{results.name}: {stage.name} ran with other parameters than params.yaml has "
                f"({_few(keys)}); dvc repro brings its results up to date."
            )
        out += [
            f"{results.name}: {path} was changed since {stage.name} wrote it."
            for path in stage.notes
            if _differs(results, record, path)
        ]
    return tuple(out)


def told(record: Mapping[str, Any] | None) -> str:
    """When, with which code, on what: a lock record in one line; empty without one."""
    if not record:
        return ""
    code, commit = _part(record, "code"), _part(record, "code").get("project_commit")
    edited = " and changes" if code.get("project_dirty") else ""
    parts = [
        str(record.get("made", "")).replace("T", " ").replace("+00:00", " UTC"),
        duration(_seconds(record)),
        _card(record),
        str(_part(record, "environment").get("cpu") or ""),
        f"Teststrip {code.get('teststrip', 'unknown')}",
        f"commit {str(commit)[:8]}{edited}" if commit else "",
    ]
    return ", ".join(part for part in parts if part)


def _seconds(record: Mapping[str, Any]) -> float | None:
    found = record.get("seconds")
    return float(found) if isinstance(found, int | float) else None


def _ran(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Ran:
    sides = (told(old), told(new))
    if old is None or new is None:
        return Ran(name, NEW if new else (GONE if old else NEVER), (), *sides)
    why = []
    for key, most in (("parameters", MOST_NAMED), ("inputs", MOST_FILES), ("outputs", MOST_FILES)):
        field = "params" if key == "parameters" else key
        names = _keys(_part(old, field), _part(new, field))
        why += [f"{key} {_few(names, most)}"] if names else []
    why += [*_machine(old, new), *_code(old, new)]
    if old.get("made") == new.get("made") and not why:
        return Ran(name, SAME, (), *sides)
    return Ran(name, AGAIN, tuple(why) or ("nothing: the same result",), *sides)


def _machine(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Device, processor, versions of packages that differ; a processor's list of features not."""
    out = []
    cards = [_card(record) for record in (old, new)]
    if cards[0] != cards[1] and all(cards):
        out.append(f"another device ({cards[0]}, then {cards[1]})")
    found = differs(_part(old, "environment"), _part(new, "environment"))
    moved = [text.replace(", now ", ", then ") for text in found if "cpu_features" not in text]
    return [*out, *([f"another machine or other versions ({_few(moved)})"] if moved else [])]


def _card(record: Mapping[str, Any]) -> str:
    device = _part(record, "device")
    return str(device.get("card") or device.get("name") or "")


def _code(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    codes = [_part(record, "code") for record in (old, new)]
    if codes[0].get("source_sha256") == codes[1].get("source_sha256"):
        return []
    names = [str(code.get("teststrip", "unknown")) for code in codes]
    if names[0] == names[1]:
        return [f"changed code of Teststrip ({names[0]})"]
    return [f"another Teststrip ({names[0]}, then {names[1]})"]


def _other_params(stage: Stage, record: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """Keys that record and params.yaml both have, with different values."""
    recorded, given = flat(_part(record, "params")), flat(params)
    out = []
    for section in stage.sections:
        new = {k: v for k, v in given.items() if k == section or k.startswith(f"{section}.")}
        old = recorded
        out += [name for name in new if name in old and not _same(old[name], new[name])]
    return out


def _differs(results: Results, record: Mapping[str, Any], path: str) -> bool:
    written = _part(record, "outputs").get(path)
    found = results.revision.find(path) if written else None
    return found is not None and hashlib.sha256(found).hexdigest() != written


def _keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    a, b = flat(old), flat(new)
    return [k for k in [*b, *(k for k in a if k not in b)] if a.get(k, ABSENT) != b.get(k, ABSENT)]


def _few(names: list[str], most: int = MOST_NAMED) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    if isinstance(found, str):
        return {"name": found}
    return found if isinstance(found, Mapping) else {}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return bool(a == b and isinstance(a, bool) == isinstance(b, bool))


def _value(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return ABSENT
    value = values[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
