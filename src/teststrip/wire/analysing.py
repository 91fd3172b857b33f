"""`study analyze`: somebody's table of images -> evidence, whatever tool made the images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from teststrip.evidence.analysis import Analysis
    from teststrip.evidence.facts import StudyFacts
    from teststrip.evidence.foreign import Foreign
    from teststrip.evidence.roles import Given

DESIGNS = ("grid", "factorial", "sobol", "random", "tpe", "gp", "nsga2")
SHORTEST_ID = 4
MOST_SHOWN = 8


@dataclass(frozen=True)
class Wishes:
    """What the flags of `study analyze` say beside the columns."""

    baseline: str | None = None
    lower_is_better: bool = False
    threshold: float | None = None
    delta: float | None = None
    design: str | None = None
    votes: Path | None = None
    name: str | None = None


@dataclass(frozen=True)
class Analysed:
    """The evidence of a table, and what had to be assumed to read it."""

    analysis: "Analysis"
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        from teststrip.evidence.brief import brief

        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([brief(self.analysis), *notes])


def analyse_table(path: Path, given: "Given", wishes: Wishes) -> Analysed:
    """Read a table, tell its columns apart, work out the evidence.

    A table that lies in its study's folder brings the study's own facts along (objective,
    baseline, threshold, design); flags go before them. Raises ConfigError with every fault of
    flags and columns, StudyError where there is nothing to conclude from.
    """
    from teststrip.evidence import foreign, votes
    from teststrip.evidence.analysis import analyse

    faults = _faults(wishes)
    own = study_beside(path)
    read = foreign.read(path, given, objective=own.get("objective"))
    facts, notes = _facts(path, read, own, wishes, faults)
    if faults:
        raise ConfigError(f"{path}: cannot be analysed", faults)
    people = votes.read(wishes.votes, read.table) if wishes.votes else ()
    return Analysed(analyse(read.table, facts, people), (*read.notes, *notes))


def summary_of(found: Analysed) -> dict[str, Any]:
    """For --json: the analysis in numbers, and what was assumed."""
    from teststrip.evidence.summary import summarise

    return summarise(found.analysis) | {"assumed": list(found.notes)}


def write_report(found: Analysed, images: Path, out: Path) -> dict[str, str]:
    """The whole report into `out`; file name -> path. `images`: where the column `png` leads."""
    from teststrip.evidence.report import file_reader
    from teststrip.wire.bench import report_files

    files = report_files(found.analysis, file_reader(images)).files
    for file, data in files.items():
        write_atomic(out / file, data)
    return {file: str(out / file) for file in files}


def study_beside(path: Path) -> dict[str, Any]:
    """The facts of a study of ours whose folder the table lies in; empty for any other table."""
    from teststrip.errors import StudyError
    from teststrip.study import Study
    from teststrip.study.folder import StudyFolder
    from teststrip.wire.facts import facts_of

    folder = path.resolve().parent
    if path.name != "images.parquet" or not StudyFolder(folder).exists():
        return {}
    if folder.parent.name != "studies":
        return {}
    try:
        record = StudyFolder(folder).read()
        return vars(facts_of(Study(record["config"], home=folder.parent.parent)))
    except StudyError:  # it has no result yet: the table alone says what it can
        return {}


def baseline_of(table: "pd.DataFrame", text: str) -> str:
    """The recipe that `--baseline` means: an id, its start, or `steps=20,guidance=7.5`.

    Raises ConfigError where there is none or more than one.
    """
    ids = list(dict.fromkeys(table["recipe_id"].tolist()))
    if text in ids:
        return text
    if "=" not in text:
        return shortened(ids, text, "--baseline")
    from teststrip.evidence.table import column_of, settings_of

    wanted = _settings(text)
    unknown = [name for name in wanted if column_of(table, name) is None]
    if unknown:
        raise ConfigError(f"--baseline {text}: no setting is called {', '.join(unknown)}")
    found = [
        recipe_id
        for recipe_id, own in settings_of(table, list(wanted)).items()
        if all(_same(own[name], value) for name, value in wanted.items())
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        values = {n: sorted({str(v[n]) for v in settings_of(table, [n]).values()}) for n in wanted}
        there = "; ".join(f"{n}: {', '.join(v[:MOST_SHOWN])}" for n, v in values.items())
        raise ConfigError(f"--baseline {text}: no recipe has these settings; there are {there}")
    raise ConfigError(
        f"--baseline {text}: {len(found)} recipes have these settings ({', '.join(found[:4])}, "
        "...); name more of them, or the recipe's id"
    )


def shortened(ids: Sequence[str], text: str, what: str) -> str:
    """The one id that begins so. Raises ConfigError where there is none or more than one."""
    if text in ids:
        return text
    found = [recipe_id for recipe_id in ids if recipe_id.startswith(text)] if text else []
    if len(found) == 1 and len(text) >= min(SHORTEST_ID, len(found[0])):
        return found[0]
    if len(found) > 1:
        raise ConfigError(f"{what} {text!r}: {len(found)} recipes begin so; write more of the id")
    known = ", ".join(ids[:MOST_SHOWN]) + (", ..." if len(ids) > MOST_SHOWN else "")
    raise ConfigError(f"{what} {text!r}: no such recipe; there are {known}")


def _faults(wishes: Wishes) -> list[str]:
    faults = []
    if wishes.design is not None and wishes.design not in DESIGNS:
        faults.append(f"--design {wishes.design!r}: {', '.join(DESIGNS)} are accepted")
    if wishes.delta is not None and wishes.delta < 0:
        faults.append(f"--delta {wishes.delta}: 0 or more is accepted")
    return faults


def _facts(
    path: Path, read: "Foreign", own: dict[str, Any], wishes: Wishes, faults: list[str]
) -> tuple["StudyFacts", list[str]]:
    """The study's own facts, changed by what the flags say; and what was assumed."""
    from teststrip.evidence.facts import StudyFacts
    from teststrip.evidence.table import varied_fields

    notes: list[str] = []
    baseline = own.get("baseline")
    try:
        if wishes.baseline is not None:
            baseline = baseline_of(read.table, wishes.baseline)
        elif not own:
            baseline = _first_trial(read.table)
    except ConfigError as exc:
        faults.append(str(exc))
    if baseline is None and wishes.baseline is None:
        notes.append(
            "No baseline was named, so the leader is the reference (--baseline ID, or "
            "--baseline steps=20,guidance=7.5)."
        )
    known = dict(own) if own else {"varied": varied_fields(read.table)}
    same_score = own.get("objective") == read.objective
    higher = bool(own["higher_is_better"]) if same_score else True
    changes = {
        "name": wishes.name or own.get("name") or path.stem,
        "objective": read.objective,
        "higher_is_better": higher and not wishes.lower_is_better,
        "baseline": baseline,
        "threshold": wishes.threshold if wishes.threshold is not None else own.get("threshold"),
        "delta": wishes.delta if wishes.delta is not None else own.get("delta"),
        "design": wishes.design or own.get("design", ""),
        "command": own.get("command") or f"teststrip study analyze {path.name}",
    }
    return StudyFacts(**(known | changes)), notes


def _first_trial(table: "pd.DataFrame") -> str | None:
    """The baseline of a table of ours: trial -1."""
    if "trial" not in table or not (table["trial"] == -1).any():
        return None
    ids = table.loc[table["trial"] == -1, "recipe_id"].unique()
    return str(ids[0]) if len(ids) == 1 else None


def _settings(text: str) -> dict[str, Any]:
    import yaml

    out = {}
    for part in text.split(","):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise ConfigError(f"--baseline {text}: write an id, or field=value,field=value")
        out[name.strip()] = yaml.safe_load(value)
    return out


def _same(own: Any, wanted: Any) -> bool:
    if isinstance(own, int | float) and isinstance(wanted, int | float):
        return abs(own - wanted) <= 1e-9 * max(abs(own), abs(wanted))
    return own == wanted or str(own) == str(wanted)
