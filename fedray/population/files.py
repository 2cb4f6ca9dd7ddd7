"""Tables of devices and traces: CSV and Parquet, and the pickled ones of FedScale, from which nothing is executed."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fedray.errors import ConfigError, first_line
from fedray.messages import Array

Columns = dict[str, Array]


def read_columns(path: str, setting: str, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> Columns:
    """The columns of a table of numbers, float64, by name.

    Args:
        path: A file that ends in .csv, .csv.gz or .parquet.
        setting: The setting that names it, for messages.
        known: The columns that mean something; others are refused, since a misspelt one would be taken for absent.
        needed: The columns that must be there.

    Raises:
        ConfigError: It cannot be read, or holds other columns, no rows, or values that are no numbers.
    """
    table = _table(Path(path), setting)
    unknown = sorted(set(table.column_names) - set(known))
    if unknown:
        raise ConfigError(
            f"{path} has a column '{unknown[0]}'; known: {', '.join(known)}; mend it, or change {setting}"
        )
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise ConfigError(f"{path} has no column '{missing[0]}'; add it, or change {setting}")
    if not table.num_rows:
        raise ConfigError(f"{path} has no rows; change {setting}")
    try:
        return {name: table[name].cast(pa.float64()).to_numpy() for name in table.column_names}
    except pa.ArrowException as error:
        raise ConfigError(f"{path} holds values that are no numbers ({first_line(error)}); change {setting}") from None


def _table(path: Path, setting: str) -> pa.Table:
    try:
        return pq.read_table(path) if path.suffix == ".parquet" else pa_csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} cannot be read ({first_line(error)}); change {setting}") from None


def read_json(path: Path, setting: str) -> Any:
    """A JSON file, gzipped or not.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return json.load(file)
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({first_line(error)}); change {setting}") from None


class _Plain(pickle.Unpickler):
    """Loads numbers, text and containers. Whatever else a pickle may hold is named by a global; those are refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, and only plain values are loaded")


def read_plain_pickle(path: str, setting: str) -> dict[Any, Any]:
    """A pickled dictionary of plain values, as FedScale publishes its tables; no code of the file is run.

    Raises:
        ConfigError: It cannot be read, is no dictionary, or holds more than plain values.
    """
    try:
        with Path(path).open("rb") as file:
            found = _plain(file)
    except (
        OSError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        MemoryError,
    ) as error:
        raise ConfigError(f"{path} cannot be read ({first_line(error)}); change {setting}") from None
    if not isinstance(found, dict) or not found:
        raise ConfigError(f"{path} holds no dictionary of devices; change {setting}")
    return found


def _plain(file: BinaryIO) -> Any:
    return _Plain(file).load()


def numbers(found: dict[Any, Any], name: str, path: str, setting: str) -> Array:
    """One value of every entry of a dictionary of dictionaries, float64, in the order of the file.

    Raises:
        ConfigError: It is missing somewhere, or is no number.
    """
    try:
        return np.array([float(entry[name]) for entry in found.values()])
    except (TypeError, KeyError, ValueError):
        raise ConfigError(f"{path} has a device without a number '{name}'; mend it, or change {setting}") from None
