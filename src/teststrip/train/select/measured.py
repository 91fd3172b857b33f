"""What a training run left behind for a decision, read into one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StudyError
from teststrip.train.folder import RunFolder
from teststrip.train.measure import written

if TYPE_CHECKING:
    import pandas as pd

BASE = 0  # the step of the model without an adapter
NEAREST = "nearest"


@dataclass(frozen=True)
class Measured:
    """One run. `weights`: step -> the adapter's file. `held_out`: columns step, picture, loss.

    `samples`: columns step, prompt_id, prompt, seed, png and the scores, of which `scores` says
    whether higher is better; None where no picture was made. Steps without a checkpoint are left
    out, but for step 0, the base model. `honest`: how near each held-out picture comes to a
    training picture, empty where that was not asked.
    """

    name: str
    folder: Path
    record: Mapping[str, Any] = field(repr=False)
    weights: Mapping[int, Path]
    meta: Mapping[int, Mapping[str, Any]] = field(repr=False)
    held_out: "pd.DataFrame | None" = field(repr=False)
    samples: "pd.DataFrame | None" = field(repr=False)
    scores: Mapping[str, bool]
    honest: tuple[float, ...] = ()

    @property
    def steps(self) -> tuple[int, ...]:
        """The checkpoints, first to last."""
        return tuple(sorted(self.weights))

    @property
    def nearest(self) -> str | None:
        """The column that says how near a picture comes to a training picture."""
        return next((c for c in self.scores if c.startswith(NEAREST)), None)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts of the validation prompts."""
        return tuple(str(text) for text in (self.record.get("prompts") or {}).values())


def read(folder: Path) -> Measured:
    """What is in a run's folder. Raises StudyError where it is no run or has no checkpoint."""
    from teststrip.train.checkpoints import checkpoints

    name = folder.name
    record = RunFolder(folder).read()
    found = checkpoints(folder)
    weights = {c.step: c.weights for c in found}
    if not weights:
        raise StudyError(
            f"run {name!r} has no checkpoint to select from; train it to its first "
            f"(every.checkpoint): teststrip train resume {name}"
        )
    samples, scores = _samples(folder, record, {BASE, *weights})
    return Measured(
        name=name,
        folder=folder,
        record=record,
        weights=weights,
        meta={c.step: c.meta for c in found},
        held_out=_held_out(folder / "held_out.jsonl", {BASE, *weights}),
        samples=samples,
        scores=scores,
    )


def _held_out(path: Path, steps: set[int]) -> "pd.DataFrame | None":
    """The last line of a step and picture counts; a torn last line is left out."""
    import pandas as pd

    if not path.is_file():
        return None
    rows: dict[tuple[int, str], float] = {}
    for row in written.rows_of(path):
        if row["step"] in steps and "picture" in row:
            loss = row.get("loss")
            rows[row["step"], str(row["picture"])] = float("nan") if loss is None else float(loss)
    if not rows:
        return None
    columns = {"step": [s for s, _ in rows], "picture": [p for _, p in rows]}
    return pd.DataFrame(columns | {"loss": list(rows.values())})


def _samples(
    folder: Path, record: Mapping[str, Any], steps: set[int]
) -> "tuple[pd.DataFrame | None, dict[str, bool]]":
    from teststrip.evidence.table_file import read_frame

    path = folder / "samples.parquet"
    if not path.is_file():
        return None, {}
    frame = read_frame(path)
    missing = [name for name in ("step", "prompt_id", "seed") if name not in frame]
    if missing:
        raise StudyError(f"{path}: lacks columns {', '.join(missing)}; see docs/runs-format.md")
    scores = {c: bool(up) for c, up in (record.get("scores") or {}).items() if c in frame}
    frame = frame[frame["step"].isin(steps)].drop_duplicates(
        ["step", "prompt_id", "seed"], keep="last"
    )
    return (frame.reset_index(drop=True) if len(frame) and scores else None), scores
