"""An Entry: what the index knows of a study, from its record and its table."""

# ruff: noqa: S608 - SQL holds our own table names and quoted columns; values go through `?`

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from teststrip.studio.index.entry import Entry, Score, Setting
from teststrip.studio.index.load import REAL, SETTINGS, WHOLE, quoted
from teststrip.studio.index.scan import Found

MOST_VALUES, MOST_TAGS = 200, 500
MOSTLY = 0.5  # of an import's images share a prompt and seed: then it is a grid after all
STATES = {
    "running": "running",
    "finished": "finished",
    "budget": "finished",
    "stopped": "stopped",
    "imported": "imported",
}
Rows = Callable[[str], list[dict[str, Any]]]


def objective_of(found: Found, scores: list[str]) -> tuple[str | None, bool]:
    """The objective's column and whether higher is better; None where there is none yet."""
    record = found.record
    columns = [*scores, "seconds"]
    known = _of(record, "higher_is_better")
    result = _of(record, "result")
    for name in (result.get("objective"), record.get("objective")):
        if name in columns:
            own = result.get("higher_is_better", known.get(name, name != "seconds"))
            return str(name), bool(own)
    objectives = [o for o in _list(_of(record, "config").get("objectives")) if isinstance(o, dict)]
    objectives.sort(key=lambda o: not o.get("primary"))
    for wanted in objectives[:1]:
        score = str(wanted.get("score", ""))
        match = [c for c in columns if c == score] or [c for c in columns if c.startswith(score)]
        if score and match:
            default = bool(known.get(match[0], match[0] != "seconds"))
            direction = wanted.get("direction")
            return match[0], default if direction is None else direction == "max"
    return None, True


def directions(
    found: Found, scores: list[str], objective: tuple[str | None, bool]
) -> dict[str, bool]:
    """Score column -> is higher better?; the study's own scores first, in its order."""
    known = _of(found.record, "higher_is_better")
    ordered = [c for c in known if c in scores] + [c for c in scores if c not in known]
    out = {c: bool(known.get(c, True)) for c in ordered}
    if objective[0] in out or objective[0] == "seconds":
        out[str(objective[0])] = objective[1]
    return out


def describe(
    found: Found,
    table: str,
    *,
    kinds: Mapping[str, str],
    scores: Mapping[str, bool],
    objective: tuple[str | None, bool],
    rows: Rows,
    fault: str = "",
) -> Entry:
    """`table`: quoted; `rows` asks it; `fault`: why it could not be read (then it is empty)."""
    record = found.record
    config = _of(record, "config")
    state = STATES.get(str(record.get("state")), "failed") if not fault else "failed"
    kind = "import" if record.get("kind") == "import" or state == "imported" else "study"
    counts = rows(
        "SELECT count(*) AS images, count(*) FILTER (status <> 'ok') AS failed, "
        "count(DISTINCT recipe_id) AS recipes, count(DISTINCT prompt_id) AS prompts "
        f"FROM {table}"
    )[0]
    return Entry(
        name=found.name,
        kind="import" if kind == "import" else "study",
        state=state,
        objective=objective[0],
        higher_is_better=objective[1],
        baseline=_baseline(record, table, rows),
        design=_text(_of(config, "design").get("kind") or record.get("design")),
        created=str(record.get("created") or ""),
        paired=_is_paired(record, kind, table, rows),
        settings=_settings(table, kinds, rows),
        scores=_scores(table, scores, rows),
        tags=_tags(table, rows),
        version=hashlib.sha256(f"{found.name}|{found.stamp}".encode()).hexdigest()[:16],
        **counts,
    )


def _settings(table: str, kinds: Mapping[str, str], rows: Rows) -> tuple[Setting, ...]:
    names = [name for name in kinds if name.startswith(SETTINGS)]
    if "recipe.lora_scale" in names:  # a swept adapter: `loras` says file and scale once more
        names = [name for name in names if name != "recipe.loras"]
    if not names:
        return ()
    terms = [
        f"min({q}) <> max({q}) OR (count({q}) > 0 AND count(*) > count({q})) AS {q}"
        for q in map(quoted, names)
    ]
    varies = rows(f"SELECT {', '.join(terms)} FROM {table}")[0]
    found = []
    for name in names:
        if not varies[name]:
            continue
        q = quoted(name)
        values = [
            _plain(row["v"])
            for row in rows(
                f"SELECT DISTINCT {q} AS v FROM {table} WHERE {q} IS NOT NULL ORDER BY v "
                f"LIMIT {MOST_VALUES + 1}"
            )
        ]
        found.append(
            Setting(
                field=name,
                label=name.partition(".")[2],
                numeric=kinds[name] in (WHOLE, REAL),
                values=tuple(values[:MOST_VALUES]),
                more=len(values) > MOST_VALUES,
            )
        )
    return tuple(found)


def _scores(table: str, scores: Mapping[str, bool], rows: Rows) -> tuple[Score, ...]:
    if not scores:
        return ()
    terms = []
    for i, name in enumerate(scores):
        terms.append(f"min({quoted(name)}) AS low{i}, max({quoted(name)}) AS high{i}")
    ends = rows(f"SELECT {', '.join(terms)} FROM {table}")[0]
    return tuple(
        Score(name, higher, ends[f"low{i}"], ends[f"high{i}"])
        for i, (name, higher) in enumerate(scores.items())
    )


def _tags(table: str, rows: Rows) -> tuple[str, ...]:
    found = rows(f"SELECT DISTINCT unnest(tags) AS tag FROM {table} ORDER BY tag LIMIT {MOST_TAGS}")
    return tuple(str(row["tag"]) for row in found)


def _baseline(record: Mapping[str, Any], table: str, rows: Rows) -> str | None:
    """The recipe's id: of the result, else of trial -1."""
    own = _of(record, "result").get("baseline_id") or record.get("baseline")
    if isinstance(own, str):
        return own
    found = rows(f"SELECT DISTINCT recipe_id FROM {table} WHERE trial = -1 LIMIT 2")
    return str(found[0]["recipe_id"]) if len(found) == 1 else None


def _is_paired(record: Mapping[str, Any], kind: str, table: str, rows: Rows) -> bool:
    if isinstance(record.get("paired"), bool):
        return bool(record["paired"])
    found = rows(
        f"SELECT sum(n) FILTER (recipes > 1) / sum(n) AS share FROM (SELECT count(*) AS n, "
        f"count(DISTINCT recipe_id) AS recipes FROM {table} "
        "WHERE seed IS NOT NULL GROUP BY split, prompt_id, seed)"
    )
    share = found[0]["share"] or 0.0
    return bool(share > (MOSTLY if kind == "import" else 0.0))


def _plain(value: Any) -> Any:
    """7.0 as 7, as people write it."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return int(value) if whole else value


def _of(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
