"""A table from a file: Parquet or CSV, as spreadsheets and other tools write it."""

import csv
import io
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

KINDS = (".parquet", ".csv", ".tsv")
SEPARATORS = ",;\t|"


def read_frame(path: Path) -> "pd.DataFrame":
    """The file's rows, with the column names as text.

    A CSV may be in UTF-8 or UTF-16 (with or without a byte order mark) and divided by comma,
    semicolon, tab or bar, with decimal points or, beside semicolons, commas. Raises ConfigError
    where it is no table: what is wrong, and what to do.
    """
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ConfigError(f"{path}: a .parquet or .csv table is read, got {path.suffix!r}")
    try:
        frame = pd.read_parquet(path) if kind == ".parquet" else _read_csv(path)
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: cannot be read as text; save it as CSV in UTF-8") from exc
    except (OSError, ValueError, pd.errors.ParserWarning) as exc:
        reason = str(exc).strip().partition("\n")[0][:300]
        raise ConfigError(f"{path}: cannot be read as {kind[1:]}: {reason}") from exc
    frame.columns = [str(name).strip() for name in frame.columns]
    twice = [name for name, count in Counter(frame.columns).items() if count > 1]
    if twice:
        raise ConfigError(f"{path}: two columns are called {', '.join(map(repr, twice))}")
    return frame


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    with path.open("rb") as file:
        start = file.read(4)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with path.open(encoding=encoding, newline="") as text:
        head = text.readline()
    if "\0" in head:
        raise ValueError("it is no text")
    separator = max(SEPARATORS, key=lambda sign: len(_cells(head, sign)))
    names = [name.strip() for name in _cells(head, separator)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"two columns are called {', '.join(map(repr, twice))}")
    with warnings.catch_warnings():
        # pandas would drop the cells that a line has too many, with a warning only
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path, sep=separator, encoding=encoding, index_col=False, low_memory=False
        )
    if separator == ";":
        for name in frame.columns:
            if not pd.api.types.is_numeric_dtype(frame[name]):
                frame[name] = _with_points(frame[name])
    return frame


def _with_points(column: "pd.Series") -> "pd.Series":
    """Numbers with decimal commas as numbers; any other column as it is."""
    filled = column.dropna().astype(str).str.strip()
    if len(filled) and filled.str.fullmatch(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?").all():
        return column.astype("string").str.replace(",", ".", regex=False).astype(float)
    return column


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(line), delimiter=separator), [])
