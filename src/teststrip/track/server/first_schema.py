"""A new SQLite database in milliseconds: what MLflow's migrations end in, written down as SQL.

Eighty migrations one after the other take seconds of each first start. The files in `schemas/` are
what they left behind; a test runs the migrations and compares. Where MLflow wants another revision
than a file's, the migrations run.

    python -m teststrip.track.server.first_schema    writes the files anew
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

FILES = Path(__file__).parent / "schemas"


def load(path: Path, which: str, wanted: str) -> bool:
    """Make the database at `path` at revision `wanted`; False where no file is of that revision."""
    source = FILES / f"{which}-{wanted}.sql"
    if not source.exists():
        return False
    with closing(sqlite3.connect(path)) as database:
        database.executescript(source.read_text(encoding="utf-8"))
    return True


def lines(path: Path) -> Iterator[str]:
    """The SQL that makes the database at `path` again."""
    with closing(sqlite3.connect(path)) as database:
        yield from database.iterdump()


def write() -> list[Path]:
    """Run the migrations and write the files; those of other revisions go."""
    from teststrip.track.server import schema
    from teststrip.track.server.places import SQLITE

    made = []
    for which in schema.SCRIPTS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "new.db")
            schema.upgrade(which, f"{SQLITE}{path}")
            wanted = schema.state(which, f"{SQLITE}{path}").wanted
            FILES.mkdir(exist_ok=True)
            for old in FILES.glob(f"{which}-*.sql"):
                old.unlink()
            made.append(FILES / f"{which}-{wanted}.sql")
            made[-1].write_text("\n".join(lines(path)) + "\n", encoding="utf-8")
    return made


if __name__ == "__main__":
    for written in write():
        print(written)
