"""One image, whole: its settings, its scores, where it stands."""

from typing import Any

from teststrip.errors import StudyError
from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.payload import finite


def image(entry: Entry, index: Index, key: str) -> dict[str, Any]:
    """Settings that differ within the study, with the baseline's beside. Raises StudyError."""
    table = index.table(entry.name)
    rows = index.query(f"SELECT * FROM {table} WHERE image_key = ? LIMIT 1", [key])  # noqa: S608
    if not rows:
        raise StudyError(f"study {entry.name!r} has no image {key[:64]!r}")
    row = rows[0]
    base: dict[str, Any] = {}
    if entry.baseline:
        sql = f"SELECT * FROM {table} WHERE recipe_id = ? LIMIT 1"  # noqa: S608
        base = next(iter(index.query(sql, [entry.baseline])), {})
    twin: list[dict[str, Any]] = []
    if entry.baseline and entry.paired and row["recipe_id"] != entry.baseline:
        twin = index.query(
            f"SELECT image_key FROM {table} WHERE recipe_id = ? AND prompt_id = ? AND seed = ? "  # noqa: S608
            "AND split = ? AND status = 'ok' LIMIT 1",
            [entry.baseline, row["prompt_id"], row["seed"], row["split"]],
        )
    return {
        "key": row["image_key"],
        "baseline_key": twin[0]["image_key"] if twin else None,
        "prompt": row["prompt"],
        "prompt_id": row["prompt_id"],
        "seed": row["seed"],
        "split": row["split"],
        "recipe": row["recipe_id"],
        "is_baseline": row["recipe_id"] == entry.baseline,
        "tags": list(row["tags"] or []),
        "failed": None if row["status"] == "ok" else row["reason"] or row["status"],
        "seconds": finite(row["seconds"]),
        "lead": finite(row["lead"]),
        "disagreement": finite(row["disagreement"]),
        "settings": [
            {
                "label": setting.label,
                "value": known.label_of(row[setting.field]),
                "baseline": known.label_of(base[setting.field]) if base else None,
            }
            for setting in entry.settings
        ],
        "scores": [
            {
                "name": score.column,
                "value": finite(row[score.column]),
                "low": finite(score.low),
                "high": finite(score.high),
                "higher_is_better": score.higher_is_better,
            }
            for score in entry.scores
        ],
    }
