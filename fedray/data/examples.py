"""From raw rows to a `Table`, by a seeded split; what is learnt from data is learnt from training rows alone.

Shapes: N examples, F features (or channels).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from fedray import seeds
from fedray.data.base import Table
from fedray.data.encoding import Scaler, Targets, Task, has_classes
from fedray.messages import Array, Ints, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Raw rows.

    Attributes:
        x: Features, numeric, shape (N, F) or (N, F, ...); NaN means missing.
        labels: Class labels (integers or text) or targets (floats), shape (N,).
        owners: Natural client of each row, any sortable type, shape (N,), or None.
        regimes: Operating regime of each row, integers, shape (N,), or None.
    """

    x: Array
    labels: Array
    owners: Array | None = None
    regimes: Array | None = None

    def rows(self, rows: Ints) -> Self:
        """Some of the rows."""
        owners = None if self.owners is None else self.owners[rows]
        regimes = None if self.regimes is None else self.regimes[rows]
        return type(self)(x=self.x[rows], labels=self.labels[rows], owners=owners, regimes=regimes)


def split(labels: Array, test_fraction: float, seed: int, task: Task = "auto") -> tuple[Ints, Ints]:
    """Training and test rows: the same fraction of every class, or of all rows for regression.

    A class always keeps at least one training row. Both results are in ascending order.
    """
    random = seeds.generator(seed, "test split")
    classes = labels if has_classes(labels, task) else np.zeros(len(labels))
    groups = np.unique(classes, return_inverse=True)[1]
    order = random.permutation(len(labels))
    order = order[np.argsort(groups[order], kind="stable")]
    counts = np.bincount(groups)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    num_test = np.minimum(np.floor(counts * test_fraction + 0.5), counts - 1)
    is_test = np.empty(len(order), bool)
    is_test[order] = rank < np.repeat(num_test, counts)
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def to_table(
    train: Examples,
    test: Examples | None,
    *,
    task: Task = "auto",
    standardise: bool = True,
    feature_names: tuple[str, ...] = (),
    class_names: tuple[str, ...] = (),
) -> Table:
    """A table from training and test rows; everything learnt from data is learnt from `train` alone."""
    scaler = Scaler.fit(train.x) if standardise else None
    targets = Targets.fit(train.labels, task)

    def shard(part: Examples) -> Shard:
        x = scaler.apply(part.x) if scaler else part.x.astype(np.float32)
        return Shard(x=np.ascontiguousarray(x), y=targets.encode(part.labels))

    owners = None if train.owners is None else np.unique(train.owners, return_inverse=True)[1].astype(np.int64)
    regimes = None if train.regimes is None else train.regimes.astype(np.int64)
    spec = targets.spec(train.x.shape[1:], feature_names, class_names)
    return Table(
        train=shard(train),
        test=shard(test) if test is not None and len(test.labels) else None,
        spec=spec,
        owners=owners,
        regimes=regimes,
    )


def split_table(
    examples: Examples,
    test_fraction: float,
    seed: int,
    *,
    task: Task = "auto",
    standardise: bool = True,
    feature_names: tuple[str, ...] = (),
    class_names: tuple[str, ...] = (),
) -> Table:
    """A table whose test set is a seeded, stratified fraction of the rows."""
    train, test = split(examples.labels, test_fraction, seed, task)
    return to_table(
        examples.rows(train),
        examples.rows(test),
        task=task,
        standardise=standardise,
        feature_names=feature_names,
        class_names=class_names,
    )
