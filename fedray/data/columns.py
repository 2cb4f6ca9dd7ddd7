"""Tables on disk with named columns: reading CSV and Parquet, and telling the user which column is wrong."""

import difflib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from fedray.data.files import unreadable
from fedray.errors import DataError
from fedray.messages import Array

Columns = dict[str, Array]
"""Column name to values, shape (N,): numbers, text or times; missing numbers are NaN, missing text is None."""


def read_columns(source: Path | bytes, name: str = "") -> Columns:
    """Reads a CSV file (plain or .gz) or a Parquet file.

    Args:
        source: A path (`.parquet` is Parquet, all else CSV), or the contents of a CSV file.
        name: What to call contents in messages.

    Raises:
        DataError: It cannot be read, or has no rows.
    """
    path = source if isinstance(source, Path) else Path(name)
    try:
        if isinstance(source, bytes):
            table: Any = csv.read_csv(io.BytesIO(source))
        elif source.suffix == ".parquet":
            table = parquet.read_table(source)
        else:
            table = csv.read_csv(source)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error
    if not table.num_rows:
        raise DataError(f"{path} has no rows; change data.path")
    return {str(n): table.column(i).to_numpy() for i, n in enumerate(table.column_names)}


def pick(columns: Columns, column: str, setting: str, file: str) -> Array:
    """One column by name.

    Raises:
        DataError: There is none; the nearest name is proposed.
    """
    if column not in columns:
        near = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(list(columns)[:20])}"
        raise DataError(f"{file} has no column '{column}' ({hint}); change {setting}")
    return columns[column]


def numbers(columns: Columns, names: list[str], setting: str, file: str, missing_allowed: bool = False) -> Array:
    """Some columns as one float64 array, shape (N, F).

    Raises:
        DataError: A column holds text, or a value is missing where none may be.
    """
    parts = [_numeric(pick(columns, name, setting, file), name, setting, file) for name in names]
    for name, part in zip(names, parts, strict=True):
        bad = np.flatnonzero(~np.isfinite(part))
        if len(bad) and not missing_allowed:
            raise DataError(
                f"column '{name}' of {file} has no finite value in row {bad[0]} ({len(bad)} rows in all); fill the "
                f"gaps or leave it out of {setting}"
            )
    return np.stack(parts, axis=1)


def complete(values: Array, column: str, file: str) -> Array:
    """The column itself, as text if it is not numeric.

    Raises:
        DataError: A value is missing.
    """
    if values.dtype.kind == "f":
        missing = ~np.isfinite(values)
    else:
        missing = np.array([v is None for v in values]) if values.dtype.kind == "O" else np.zeros(len(values), bool)
    if missing.any():
        raise DataError(f"column '{column}' of {file} has no value in row {np.flatnonzero(missing)[0]}; fill the gap")
    return values.astype(str) if values.dtype.kind not in "fiu" else values


def _numeric(values: Array, column: str, setting: str, file: str) -> Array:
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    if values.dtype.kind == "O" and all(v is None or isinstance(v, bool) for v in values):
        return np.array([np.nan if v is None else float(v) for v in values])
    raise DataError(f"column '{column}' of {file} holds {values[0]!r}, which is no number; leave it out of {setting}")
