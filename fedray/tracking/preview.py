"""The last rows of a table as CSV, because MLflow's pages show that and no Parquet."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

PREVIEW_ROWS = 500
"""MLflow's pages show no more rows of a CSV file than these."""


@contextmanager
def preview(path: Path) -> Generator[Path | None]:
    """A CSV file of the last rows, which lives as long as the context.

    Args:
        path: An artifact; what is no table has no preview, and a damaged table neither.
    """
    if path.suffix != ".parquet":
        yield None
        return
    try:
        rows = last_rows(path)
    except (pa.ArrowInvalid, OSError):
        yield None
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{path.stem}_last_{PREVIEW_ROWS}.csv"
        pyarrow.csv.write_csv(rows, file)
        yield file


def last_rows(path: Path, wanted: int = PREVIEW_ROWS) -> pa.Table:
    """The last rows of a Parquet file, of which no more is read than their row groups."""
    with pq.ParquetFile(path) as file:
        first, found = file.num_row_groups, 0
        while first and found < wanted:
            first -= 1
            found += file.metadata.row_group(first).num_rows
        rows = file.read_row_groups(range(first, file.num_row_groups))
    return rows.slice(max(0, rows.num_rows - wanted))
