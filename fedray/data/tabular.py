"""Any CSV or Parquet table with named feature, label and client columns."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedray.data.base import DataConfig, Table
from fedray.data.columns import Columns, complete, numbers, pick, read_columns
from fedray.data.encoding import Task
from fedray.data.examples import Examples, split_table, to_table
from fedray.data.files import find
from fedray.errors import DataError


class _Tabular(DataConfig):
    """Settings of a table with named columns."""

    path: str
    """The file."""
    label: str
    """Column of the class label or target."""
    features: tuple[str, ...] | None = None
    """Feature columns; null takes every column that is neither label nor client."""
    client: str | None = None
    """Column that says which client a row belongs to, for the natural partition."""
    test_path: str | None = None
    """File of the test set, with the same columns; null splits off `test_fraction`."""
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""
    task: Task = "auto"
    """What is learnt; auto takes whole numbers and text for classes, other numbers for regression targets."""
    standardise: bool = True
    """Scale every feature to mean 0 and deviation 1 over the training rows."""

    def table(self, seed: int) -> Table:
        """Reads the columns; refuses missing values by column and row."""
        columns = self._columns(self.path)
        names = self._features(columns)
        examples = self._examples(columns, names, self.path)
        if self.test_path is None:
            return split_table(
                examples,
                self.test_fraction,
                seed,
                task=self.task,
                standardise=self.standardise,
                feature_names=names,
            )
        test = self._examples(self._columns(self.test_path), names, self.test_path)
        return to_table(examples, test, task=self.task, standardise=self.standardise, feature_names=names)

    def _columns(self, path: str) -> Columns:
        place = find(path)
        if place.is_dir():
            raise DataError(f"'{path}' is a folder, but data '{self.name}' reads one file; change data.path")
        return read_columns(place)

    def _features(self, columns: Columns) -> tuple[str, ...]:
        names = self.features or tuple(c for c in columns if c not in (self.label, self.client))
        if not names:
            raise DataError(f"{self.path} has no feature column besides '{self.label}'; change data.features")
        if self.label in names:
            raise DataError(f"the label '{self.label}' is also a feature; take it out of data.features")
        return names

    def _examples(self, columns: Columns, names: tuple[str, ...], path: str) -> Examples:
        file = Path(path).name
        labels = complete(pick(columns, self.label, "data.label", file), self.label, file)
        owners = None
        if self.client is not None:
            owners = complete(pick(columns, self.client, "data.client", file), self.client, file)
        return Examples(x=numbers(columns, list(names), "data.features", file), labels=labels, owners=owners)


class CsvTable(_Tabular):
    """A CSV file, plain or gzipped, with a header line."""

    name: Literal["csv"] = "csv"


class ParquetTable(_Tabular):
    """A Parquet file."""

    name: Literal["parquet"] = "parquet"
