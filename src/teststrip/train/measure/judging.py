"""Validation images -> rows of samples.parquet, and the mean of each score."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.protocols import Scorer
from teststrip.records import Generation
from teststrip.study.scoring import all_columns, ask
from teststrip.train.measure import table

if TYPE_CHECKING:
    from teststrip.train.measure.nearest import Closeness

Row = dict[str, Any]


class Judging:
    """Scores images and keeps the table. `closeness` None: no likeness, nearness, diversity.

    Raises StudyError where two scorers give one column.
    """

    def __init__(
        self, folder: Path, scorers: Sequence[Scorer], closeness: "Closeness | None" = None
    ) -> None:
        self._folder = folder
        self._scorers = scorers
        self._closeness = closeness
        own = all_columns(scorers)
        # a user's own likeness to the same pictures is the same number
        self.columns: dict[str, bool] = (closeness.columns if closeness else {}) | own

    @property
    def path(self) -> Path:
        """The table."""
        return self._folder / "samples.parquet"

    def judge(
        self, step: int, images: Sequence[Generation], paths: Sequence[Path]
    ) -> dict[str, float]:
        """Put the rows of a checkpoint into the table, in place of older ones; returns the mean of
        each score over prompts (of a prompt over seeds), without those that have none."""
        rows: list[Row] = [
            _row(step, image, path.relative_to(self._folder).as_posix())
            for image, path in zip(images, paths, strict=True)
        ]
        if self._closeness is not None and images:
            for row, values in zip(rows, self._closeness.judge(images), strict=True):
                row.update(values)
        for scorer in self._scorers if images else ():
            for row, (values, reason) in zip(rows, ask(scorer, images), strict=True):
                row.update(values)
                row["reason"] = "; ".join(filter(None, (row["reason"], reason)))
        self._keep([row for row in self._rows() if row["step"] != step] + rows)
        return means(rows, self.columns)

    def scored(self, step: int) -> int:
        """How many images of a checkpoint are in the table with all columns of today."""
        rows = [row for row in self._rows() if row["step"] == step]
        return sum(all(column in row for column in self.columns) for row in rows)

    def forget_after(self, step: int) -> None:
        """Take out the rows of later checkpoints."""
        rows = self._rows()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows):
            self._keep(kept)

    def _rows(self) -> list[Row]:
        return table.read(self.path)

    def _keep(self, rows: Sequence[Row]) -> None:
        ordered = sorted(rows, key=lambda row: (row["step"], row["prompt_id"], row["seed"]))
        table.write(self.path, ordered, list(self.columns))


def means(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, bool]) -> dict[str, float]:
    """Column -> mean of the prompts' means; a prompt is the unit, not an image."""
    found = {}
    for column in columns:
        prompts: dict[str, list[float]] = {}
        for row in rows:
            value = row.get(column)
            if value is not None and math.isfinite(value):
                prompts.setdefault(row["prompt_id"], []).append(value)
        if prompts:
            of_prompts = [math.fsum(values) / len(values) for values in prompts.values()]
            found[column] = math.fsum(of_prompts) / len(of_prompts)
    return found


def _row(step: int, image: Generation, png: str) -> Row:
    block = image.request.block
    return {
        "step": step,
        "prompt_id": block.prompt_id,
        "prompt": block.prompt,
        "seed": block.seed,
        "image_key": image.image_key,
        "png": png,
        "reason": "",
    }
