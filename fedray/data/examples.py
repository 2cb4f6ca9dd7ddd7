"""From raw rows to a `Table`: seeded split, imputation and scaling by training rows only, labels to class numbers.

Shapes: N examples, F features (or channels).
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from fedray import seeds
from fedray.data.base import Table
from fedray.errors import DataError
from fedray.messages import Array, DataSpec, Floats, Ints, Shard

Task = Literal["auto", "classification", "regression"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Fills missing values with the training median and standardises by training mean and deviation.

    Attributes:
        median: Shape (F,).
        mean: Shape (F,).
        deviation: Shape (F,); 1 where a feature is constant.
    """

    median: Array
    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, x: Array) -> Self:
        """Statistics of training rows, shape (N, F, ...): axis 1 is the feature or channel."""
        flat = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1).astype(np.float64)
        missing = np.isnan(flat)
        if missing.all(axis=1).any():
            bad = int(np.flatnonzero(missing.all(axis=1))[0])
            raise DataError(f"feature {bad} has no value in any training row; leave it out")
        median = np.nanmedian(flat, axis=1) if missing.any() else np.zeros(len(flat))
        filled = np.where(missing, median[:, None], flat)
        mean, deviation = filled.mean(axis=1), filled.std(axis=1)
        constant = deviation <= 1e-7 * np.maximum(1.0, np.abs(mean))
        return cls(median=median, mean=mean, deviation=np.where(constant, 1.0, deviation))

    def apply(self, x: Array) -> Floats:
        """Standardised rows without missing values, float32, same shape."""
        shape = (1, -1, *(1,) * (x.ndim - 2))
        filled = np.where(np.isnan(x), self.median.reshape(shape), x)
        return ((filled - self.mean.reshape(shape)) / self.deviation.reshape(shape)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """How labels become what a model is trained on.

    Attributes:
        classes: Distinct labels in sorted order, position = class number; None for regression.
        scale: Regression: deviation of the training targets.
    """

    classes: Array | None
    scale: float = 1.0

    @classmethod
    def fit(cls, labels: Array, task: Task) -> Self:
        """Learns the classes; "auto" takes whole numbers and text for classes, and other numbers for targets."""
        is_float = labels.dtype.kind == "f"
        if task == "regression" or (task == "auto" and is_float):
            if labels.dtype.kind not in "fiu":
                raise DataError("the label column holds text, which is no regression target; change data.task")
            return cls(classes=None, scale=float(np.std(labels.astype(np.float64))) or 1.0)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise DataError(f"all training labels are {classes[0]!s}; there is nothing to learn, change data.label")
        return cls(classes=classes)

    def encode(self, labels: Array) -> Array:
        """Class numbers int64, or targets float32, shape (N,)."""
        if self.classes is None:
            return labels.astype(np.float32)
        numbers = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        unknown = np.flatnonzero(self.classes[numbers] != labels)
        if len(unknown):
            raise DataError(f"test row {unknown[0]} has the label {labels[unknown[0]]!s}, which no training row has")
        return numbers.astype(np.int64)

    def spec(self, features: tuple[int, ...], feature_names: tuple[str, ...], class_names: tuple[str, ...]) -> DataSpec:
        """Shapes and task of the data; class names default to the labels themselves."""
        if self.classes is None:
            return DataSpec(
                features=features,
                task="regression",
                num_outputs=1,
                target_scale=self.scale,
                feature_names=feature_names,
            )
        names = class_names or tuple(str(c) for c in self.classes)
        return DataSpec(
            features=features,
            task="classification",
            num_outputs=len(self.classes),
            feature_names=feature_names,
            class_names=names,
        )


def split(labels: Array, test_fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Training and test rows: the same fraction of every class, or of all rows where labels are floats.

    A class always keeps at least one training row. Both results are in ascending order.
    """
    random = seeds.generator(seed, "test split")
    whole = labels.dtype.kind == "f"
    groups = np.zeros(len(labels), np.int64) if whole else np.unique(labels, return_inverse=True)[1]
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
    train, test = split(examples.labels, test_fraction, seed)
    return to_table(
        examples.rows(train),
        examples.rows(test),
        task=task,
        standardise=standardise,
        feature_names=feature_names,
        class_names=class_names,
    )
