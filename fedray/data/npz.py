"""Arrays of one `.npz` file: features, labels, and optionally clients and a test set."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray.data.base import DataConfig, Table
from fedray.data.encoding import Task
from fedray.data.examples import Examples, split_table, to_table
from fedray.data.files import find, load_npz
from fedray.errors import DataError
from fedray.messages import Array


class NpzArrays(DataConfig):
    """Named arrays of an `.npz` file; object arrays are refused."""

    name: Literal["npz"] = "npz"
    path: str
    """The file."""
    features: str = "x"
    """Array of features, shape (N, ...)."""
    label: str = "y"
    """Array of labels (whole numbers or text) or targets (floats), shape (N,)."""
    client: str | None = None
    """Array that says which client an example belongs to, shape (N,), for the natural partition."""
    test_features: str | None = None
    """Array of test features; null splits off `test_fraction`."""
    test_label: str | None = None
    """Array of test labels; goes with `test_features`."""
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""
    task: Task = "auto"
    """What is learnt; auto takes whole numbers and text for classes, other numbers for regression targets."""
    standardise: bool = False
    """Scale every feature (axis 1) to mean 0 and deviation 1 over the training examples."""

    def table(self, seed: int) -> Table:
        """Reads the arrays; refuses values that are not finite by row."""
        train = self._examples(self.features, self.label, self.client)
        if self.test_features is None:
            return split_table(train, self.test_fraction, seed, task=self.task, standardise=self.standardise)
        if self.test_label is None:
            raise DataError("data.test_features is set, but data.test_label is not; set data.test_label")
        test = self._examples(self.test_features, self.test_label, None)
        return to_table(train, test, task=self.task, standardise=self.standardise)

    def _examples(self, features: str, label: str, client: str | None) -> Examples:
        names = [features, label] if client is None else [features, label, client]
        arrays = load_npz(find(self.path), *names)
        for name, array in zip(names, arrays, strict=True):
            _check(name, array, len(arrays[0]), self.path)
        x = arrays[0][:, None] if arrays[0].ndim == 1 else arrays[0]
        return Examples(x=x, labels=arrays[1], owners=arrays[2] if client is not None else None)


def _check(name: str, array: Array, num: int, path: str) -> None:
    if array.ndim == 0 or len(array) != num or not num:
        raise DataError(f"array '{name}' of {path} has the shape {array.shape}, but {num} examples; change data.path")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DataError(f"array '{name}' of {path} has a value that is not finite in row {row}; clean the data")
