"""A torch map-style dataset of the user's own, copied into arrays."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from fedray.config import load_object
from fedray.data.base import DataConfig, Table
from fedray.data.encoding import Task
from fedray.data.examples import Examples, split_table, to_table
from fedray.errors import DataError


class TorchDataset(DataConfig):
    """A map-style dataset (`__len__` and `__getitem__` giving `(x, y)`) by import path."""

    name: Literal["torch"] = "torch"
    dataset: str
    """Import path of the class, or of a function that returns the dataset: `my_pkg.data:Train`."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    test: str | None = None
    """Import path of the test set; null splits off `test_fraction`."""
    test_args: dict[str, Any] | None = None
    """Arguments of the test set; null takes `args`."""
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""
    task: Task = "auto"
    """What is learnt; auto takes whole numbers for classes, other numbers for regression targets."""

    def table(self, seed: int) -> Table:
        """Reads every example once."""
        train = _materialise(self.dataset, self.args, "data.dataset")
        if self.test is None:
            return split_table(train, self.test_fraction, seed, task=self.task, standardise=False)
        args = self.args if self.test_args is None else self.test_args
        return to_table(train, _materialise(self.test, args, "data.test"), task=self.task, standardise=False)


def _materialise(path: str, args: dict[str, Any], setting: str) -> Examples:
    build = load_object(path, setting)
    try:
        dataset = build(**args)
        pairs = [dataset[i] for i in range(len(dataset))]
        x = np.stack([np.asarray(features, dtype=np.float32) for features, _ in pairs])
        labels = np.stack([np.asarray(label) for _, label in pairs])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"dataset '{path}' cannot be read as (x, y) pairs ({reason}); change {setting}") from error
    if labels.ndim > 1 and labels.size == len(labels):
        labels = labels.reshape(-1)
    if labels.ndim != 1:
        raise DataError(f"a label of dataset '{path}' has the shape {labels.shape[1:]}, but must be one number")
    return Examples(x=x[:, None] if x.ndim == 1 else x, labels=labels)
