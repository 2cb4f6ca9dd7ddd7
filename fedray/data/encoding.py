"""What is learnt from training rows to prepare all rows: filling gaps, scaling, and numbering the classes.

Shapes: N examples, F features (or channels).
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from fedray.errors import DataError
from fedray.messages import Array, DataSpec, Floats

Task = Literal["auto", "classification", "regression"]


def has_classes(labels: Array, task: Task) -> bool:
    """Whether labels are classes: "auto" takes whole numbers and text for classes, other numbers for targets."""
    return task == "classification" or (task == "auto" and labels.dtype.kind != "f")


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
        """Learns the classes, or the scale of the targets, from training labels."""
        if not has_classes(labels, task):
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
