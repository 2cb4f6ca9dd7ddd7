"""What is learned, whatever the model: a loss, statistics that add, and metrics made of them.

Shapes: B batch, K outputs, C clients.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedray.config import Config
from fedray.messages import Array, DataSpec, Stats


class Task(ABC):
    """Loss and metrics of a kind of learning. Frozen and picklable.

    Attributes:
        headline: Name of the metric that sums the task up.
        higher_is_better: Whether more of it is better.
    """

    headline: ClassVar[str]
    higher_is_better: ClassVar[bool]

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each example, times its weight, shape (B,).

        Args:
            outputs: What the model gave, shape (B, K).
            targets: From `targets`, shape (B,).
        """

    @abstractmethod
    def weights(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Weight of each example in the mean loss, shape (B,): ones unless classes are weighted."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, a differentiable scalar: sum of `losses` over sum of `weights`."""

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the examples, shape (B,), and the gradient of their sum with respect to outputs, shape (B, K)."""
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            losses = self.losses(leaf, targets)
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), gradient

    @abstractmethod
    def targets(self, y: Array) -> Tensor:
        """A copy of a shard's labels or targets, shape (B,), as the loss takes them."""

    @abstractmethod
    def statistics(self, outputs: Tensor, targets: Tensor) -> Stats:
        """Statistics that add, from which `metrics` are made."""

    @abstractmethod
    def row(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """The few statistics kept for each client."""

    @abstractmethod
    def metrics(self, stats: Stats) -> dict[str, float]:
        """Metrics of all examples that `stats` counts; NaN where a metric is not defined on them."""

    @abstractmethod
    def client_metric(self, columns: dict[str, Array]) -> Array:
        """The headline metric of each client, shape (C,), from columns of `row`; NaN without examples."""


class TaskConfig(Config, ABC):
    """Settings of a task; also its builder."""

    name: str

    @abstractmethod
    def build(self, spec: DataSpec) -> Task:
        """The task on this data.

        Raises:
            ConfigError: The settings do not fit the data.
        """


def merge(first: Stats, *others: Stats) -> Stats:
    """Statistics of a union: the elementwise sum."""
    total = {name: np.array(values) for name, values in first.items()}
    for stats in others:
        for name, values in total.items():
            values += stats[name]
    return total


def mean(total: Array, count: Array) -> Array:
    """`total / count`, and NaN where nothing was counted."""
    undefined = np.full(np.shape(total), np.nan)
    return np.divide(total, count, out=undefined, where=np.asarray(count) > 0)
