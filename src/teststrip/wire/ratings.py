"""Ratings from production, for people and as a table that `study analyze` reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.files import storage_error

if TYPE_CHECKING:
    from teststrip.track.ratings import Rating, Served
    from teststrip.track.share import Difference, Share

KINDS = (".parquet", ".csv")


@dataclass(frozen=True)
class Rated:
    """One version and what people said. `gain`: against the version before it, if both have any."""

    served: "Served"
    share: "Share"
    gain: "Difference | None"
    before: str


@dataclass(frozen=True)
class Report:
    """Versions of each model, the newest first. `where`: the store, without a password."""

    rated: Sequence[Rated]
    where: str
    rows: "Sequence[Rating]"

    def __str__(self) -> str:
        if not self.rated:
            return f"No ratings yet in {self.where}"
        return "\n".join(line for one in self.rated for line in _lines(one))

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "where": self.where,
            "versions": [
                {
                    "model": one.served.model,
                    "version": one.served.version,
                    "registered": one.served.is_registered,
                    **one.share.as_dict(),
                    "before": one.before or None,
                    "difference": _difference(one.gain),
                }
                for one in self.rated
            ],
        }

    def write(self, path: Path) -> int:
        """The table as .parquet or .csv; how many rows.

        Raises ConfigError, StorageError, and MissingExtra without pandas.
        """
        if path.suffix.lower() not in KINDS:
            raise ConfigError(f"--table {path}: .parquet or .csv is written, got {path.suffix!r}")
        from teststrip.track.rated_table import rated_table

        table = rated_table(self.rows)
        try:
            if path.suffix.lower() == ".csv":
                table.to_csv(path, index=False)
            else:
                table.to_parquet(path, index=False)
        except OSError as exc:
            raise storage_error(path, exc) from exc
        return len(table)


def ratings(home: Path, model: str | None = None) -> Report:
    """What people said of every version served, or of those of `model`.

    Raises MissingExtra without MLflow, StorageError where it cannot be reached.
    """
    from teststrip.track.ratings import Ratings, share
    from teststrip.track.share import difference

    store = Ratings(home)
    served = [one for one in store.versions() if model in (None, one.model)]
    rows = {one: store.of(one) for one in served}
    shares = {one: share(rows[one]) for one in served}
    rated = []
    for at, one in enumerate(served):
        older = next((o for o in served[at + 1 :] if o.model == one.model), None)
        gain = difference(shares[one], shares[older]) if older else None
        rated.append(Rated(one, shares[one], gain, older.version if older else ""))
    return Report(rated, store.uri, [row for found in rows.values() for row in found])


def _lines(one: Rated) -> list[str]:
    made = f"{one.served.model} version {one.served.version}: {one.share}"
    if one.share.count:
        made += f", {one.share.prompts} prompts, {one.share.people} people"
    if one.gain is None:
        return [made]
    gain = one.gain
    told = f"{gain.mean:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}): {gain.verdict}"
    return [made, f"  against version {one.before}: {told}"]


def _difference(gain: "Difference | None") -> dict[str, Any] | None:
    if gain is None:
        return None
    return {"mean": gain.mean, "low": gain.low, "high": gain.high, "verdict": gain.verdict}
