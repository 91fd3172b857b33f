"""samples.parquet: one row for each validation image, with its scores."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError
from teststrip.files import write_atomic

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """All rows; none where there is no table. Raises StorageError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return []
    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{path}: cannot be read: {exc}; delete it, it is made again") from exc
    return rows


def write(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """The whole table anew; what is no finite number is null. Raises StorageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = pa.schema(
        [
            ("step", pa.int64()),
            ("prompt_id", pa.string()),
            ("prompt", pa.string()),
            ("seed", pa.int64()),
            ("image_key", pa.string()),
            ("png", pa.string()),
            *((column, pa.float64()) for column in columns),
            ("nearest_picture", pa.string()),
            ("reason", pa.string()),
        ]
    )
    out = io.BytesIO()
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema=kinds), out, compression="zstd")
    write_atomic(path, out.getvalue())


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
