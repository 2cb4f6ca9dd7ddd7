"""Classification with cross-entropy.

Shapes: B batch, K classes, N bins of scores.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from fedray.errors import ConfigError
from fedray.messages import Array, DataSpec, Stats
from fedray.models import metrics
from fedray.models.task_base import Task, TaskConfig, mean

MAX_SCORED_CLASSES = 100
"""With more classes no histograms of scores are kept, and there is no `auprc`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Task):
    """Cross-entropy over K classes.

    With class weights the mean loss is torch's weighted mean, sum(w[y] * loss) / sum(w[y]), in training and in metrics.

    Attributes:
        num_classes: K.
        class_weights: Weight of each class in the loss, or None.
        label_smoothing: Part of each target spread over all classes.
    """

    headline: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    num_classes: int
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weight = None if self.class_weights is None else outputs.new_tensor(self.class_weights)
        return functional.cross_entropy(
            outputs, targets, weight=weight, reduction="none", label_smoothing=self.label_smoothing
        )

    def weights(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.class_weights is None:
            return torch.ones_like(outputs[..., 0])
        return outputs.new_tensor(self.class_weights)[targets]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = self.losses(outputs, targets)
        if self.class_weights is None:
            return losses.mean()
        return losses.sum() / self.weights(outputs, targets).sum()

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.class_weights is not None or self.label_smoothing:
            return Task.output_gradient(self, outputs, targets)  # super() does not work with slots
        logs = functional.log_softmax(outputs, dim=1)
        minus_one = outputs.new_tensor(-1.0).expand(len(outputs), 1)
        gradient = logs.exp().scatter_add_(1, targets[:, None], minus_one)
        return functional.nll_loss(logs, targets, reduction="none"), gradient

    def targets(self, y: Array) -> Tensor:
        return torch.tensor(y, dtype=torch.int64)

    @torch.no_grad()
    def statistics(self, outputs: Tensor, targets: Tensor) -> Stats:
        """Counts and sums of a batch.

        Returns:
            `examples`, `loss_sum` and `weight_sum`, scalars; `confusion`, counts by (true, predicted) class, (K, K);
            `scores`, counts by (class, whether it is the true one, bin of its score), (K, 2, N), for few classes.
        """
        cells = targets * self.num_classes + outputs.argmax(dim=1)
        confusion = torch.bincount(cells, minlength=self.num_classes**2)
        stats: Stats = {
            "examples": np.array(len(targets), dtype=np.int64),
            "loss_sum": np.array(self.losses(outputs, targets).double().sum().item()),
            "weight_sum": np.array(self.weights(outputs, targets).double().sum().item()),
            "confusion": confusion.reshape(self.num_classes, self.num_classes).numpy(),
        }
        if self.num_classes <= MAX_SCORED_CLASSES:
            stats["scores"] = metrics.score_histogram(outputs, targets)
        return stats

    @torch.no_grad()
    def row(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """`examples`, `loss_sum` (class weights included) and `correct`."""
        correct = (outputs.argmax(dim=1) == targets).sum().item()
        loss_sum = self.losses(outputs, targets).double().sum().item()
        return {"examples": float(len(targets)), "loss_sum": loss_sum, "correct": float(correct)}

    def metrics(self, stats: Stats) -> dict[str, float]:
        """`loss`, `accuracy`, `balanced_accuracy`, `macro_f1`, `auprc`, and for two classes `recall` of class 1."""
        loss = float(mean(stats["loss_sum"], stats["weight_sum"]))
        found = {"loss": loss, **metrics.of_confusion(stats["confusion"])}
        if "scores" in stats:
            found["auprc"] = metrics.auprc(stats["scores"])
        return found

    def client_metric(self, columns: dict[str, Array]) -> Array:
        return mean(columns["correct"], columns["examples"])


class ClassificationConfig(TaskConfig):
    """Settings of classification."""

    name: Literal["classification"] = "classification"
    class_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Weight of each class in the loss, for rare classes; null weights them alike."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of each target that is spread over all classes (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567)."""

    def build(self, spec: DataSpec) -> Task:
        if self.class_weights is not None and len(self.class_weights) != spec.num_outputs:
            raise ConfigError(
                f"task.class_weights has {len(self.class_weights)} weights, but the data has {spec.num_outputs} "
                "classes; give task.class_weights one weight a class"
            )
        return Classification(
            num_classes=spec.num_outputs, class_weights=self.class_weights, label_smoothing=self.label_smoothing
        )
