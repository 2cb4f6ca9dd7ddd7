"""Regression of one real target.

Shapes: B batch.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedray.errors import ConfigError
from fedray.messages import Array, DataSpec, Stats
from fedray.models.metrics import nasa_score
from fedray.models.task_base import Task, TaskConfig, mean

Loss = Literal["mse", "mae", "huber"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(Task):
    """Errors of predictions; the loss is taken on errors divided by `target_scale`, the metrics on errors as they are.

    Attributes:
        kind: Loss: squared, absolute or Huber (squared below one `target_scale`, linear above).
        target_scale: Size of the targets, in their unit.
    """

    headline: ClassVar[str] = "rmse"
    higher_is_better: ClassVar[bool] = False

    kind: Loss = "mse"
    target_scale: float = 1.0

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        errors = (outputs[..., 0] - targets) / self.target_scale
        if self.kind == "mse":
            return errors.square()
        if self.kind == "mae":
            return errors.abs()
        return functional.huber_loss(errors, torch.zeros_like(errors), reduction="none")

    def weights(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.ones_like(targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.losses(outputs, targets).mean()

    def targets(self, y: Array) -> Tensor:
        return torch.tensor(y, dtype=torch.float32)

    @torch.no_grad()
    def statistics(self, outputs: Tensor, targets: Tensor) -> Stats:
        """Sums over a batch, all scalars, in units of the target or their square."""
        errors, true = self._errors(outputs, targets), targets.double()
        sums = {
            "loss_sum": self.losses(outputs, targets).double().sum(),
            "squared_error": errors.square().sum(),
            "absolute_error": errors.abs().sum(),
            "nasa_score": nasa_score(errors).sum(),
            "target_sum": true.sum(),
            "target_squares": true.square().sum(),
        }
        examples = np.array(len(targets), dtype=np.int64)
        return {"examples": examples, **{name: np.array(value.item()) for name, value in sums.items()}}

    @torch.no_grad()
    def row(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """`examples`, `loss_sum`, `squared_error` and `absolute_error`."""
        errors = self._errors(outputs, targets)
        return {
            "examples": float(len(targets)),
            "loss_sum": self.losses(outputs, targets).double().sum().item(),
            "squared_error": errors.square().sum().item(),
            "absolute_error": errors.abs().sum().item(),
        }

    @staticmethod
    def _errors(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[..., 0].double() - targets.double()

    def metrics(self, stats: Stats) -> dict[str, float]:
        """`loss`, `rmse`, `mae`, `nasa_score` (a sum, as in its source) and `r2`."""
        squared_error, examples = float(stats["squared_error"]), int(stats["examples"])
        return {
            "loss": float(mean(stats["loss_sum"], stats["examples"])),
            "rmse": math.sqrt(float(mean(stats["squared_error"], stats["examples"]))),
            "mae": float(mean(stats["absolute_error"], stats["examples"])),
            "nasa_score": float(stats["nasa_score"]),
            "r2": _r2(squared_error, float(stats["target_sum"]), float(stats["target_squares"]), examples),
        }

    def client_metric(self, columns: dict[str, Array]) -> Array:
        return np.sqrt(mean(columns["squared_error"], columns["examples"]))


def _r2(squared_error: float, target_sum: float, target_squares: float, examples: int) -> float:
    """Coefficient of determination; NaN where the targets do not vary."""
    spread = target_squares - target_sum**2 / examples if examples else 0.0
    rounding = 1e-15 * target_squares * examples
    return 1.0 - squared_error / spread if spread > rounding else math.nan


class RegressionConfig(TaskConfig):
    """Settings of regression."""

    name: Literal["regression"] = "regression"
    loss: Loss = "mse"
    """Loss on errors divided by the data's target scale."""

    def build(self, spec: DataSpec) -> Task:
        if spec.num_outputs != 1:
            raise ConfigError(f"task regression predicts one target, but the data has {spec.num_outputs}; change data")
        return Regression(kind=self.loss, target_scale=spec.target_scale)
