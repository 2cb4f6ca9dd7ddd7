"""Faults from a user's table: each row becomes the settings of one fault."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedray.config import Config, parse
from fedray.errors import ConfigError
from fedray.simulation.faults.settings import FAULTS, AnyFault, FaultConfig, FaultFile

Row = dict[str, Any]
_COLUMNS = {"round": "rounds", "client": "clients"}
"""Columns that hold one value where the setting of the same meaning has several."""
_HINT = "give it columns round, kind and client, and the settings of the kind"


class _Holder(Config):
    fault: AnyFault


def read(config: FaultFile) -> list[FaultConfig]:
    """The faults of a file, in the order of its rows.

    Raises:
        ConfigError: It cannot be read, or a row is wrong: one sentence that names it.
    """
    path = Path(config.file)
    rows = list(_parquet(path) if path.suffix == ".parquet" else _csv(path))
    return [_fault(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def _fault(row: Row, where: str) -> FaultConfig:
    given = {name: value for name, value in row.items() if value is not None and value != ""}
    for column in ("round", "kind"):
        if column not in given:
            raise ConfigError(f"{where}: {column} is missing; {_HINT}")
    if given["kind"] not in FAULTS.options or given["kind"] == "file":
        known = ", ".join(name for name in FAULTS.options if name != "file")
        raise ConfigError(f"{where}: kind is {given['kind']!r}; choose one of {known}")
    for column in _COLUMNS.values():
        if column in given:
            raise ConfigError(f"{where}: a table has no column {column!r}; {_HINT}")
    settings = {_COLUMNS.get(name, name): [value] if name in _COLUMNS else value for name, value in given.items()}
    try:
        fault = parse(_Holder, {"fault": settings}).fault
    except ConfigError as error:
        raise ConfigError(f"{where}: {_as_columns(str(error))}") from None
    assert isinstance(fault, FaultConfig)  # a file within a file was refused
    return fault


def _as_columns(sentence: str) -> str:
    """The sentence about a setting, in words of the table."""
    for column, setting in _COLUMNS.items():
        sentence = sentence.replace(f"fault.{setting}.0", column)
    return sentence.replace("fault.", "").removeprefix("fault: ")


def _csv(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, restkey="more", skipinitialspace=True):
                if "more" in row:
                    raise ConfigError(f"{path} has a row with more values than columns: {row}; mend it")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the faults of {path} cannot be read ({error}); change faults.file") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        yield from pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the faults of {path} cannot be read ({reason}); change faults.file") from None
