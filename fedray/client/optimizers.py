"""Local optimizers.

The arithmetic is elementwise, so the same code steps the tensors of one client, or of a stack, to the same bits.
Each equals the torch optimizer of its name.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fedray.config import Choices, Config

State = dict[str, Tensor]


class OptimizerConfig(Config, ABC):
    """Settings of a local optimizer; also its arithmetic. Its state begins anew in every round."""

    name: str
    lr: Annotated[float, Field(gt=0)] = 0.1
    """Learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 penalty, added to the gradient."""

    def start(self, weights: Tensor) -> State:
        """The state before the first step for weights of shape (..., P)."""
        return {}

    @abstractmethod
    def step(self, weights: Tensor, grads: Tensor, state: State, lr: float) -> None:
        """One step in place.

        Args:
            weights: Trainable parameters, shape (..., P); changed.
            grads: Their gradients; may be overwritten.
            state: From `start`; changed.
            lr: Learning rate of this round.
        """


class Sgd(OptimizerConfig):
    """Stochastic gradient descent with momentum, as torch.optim.SGD."""

    name: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum; 0 keeps none."""
    nesterov: bool = False
    """Look ahead along the momentum."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov is true, but momentum is 0; set momentum, or nesterov to false")
        return self

    def start(self, weights: Tensor) -> State:
        return {"velocity": torch.zeros_like(weights)} if self.momentum else {}

    def step(self, weights: Tensor, grads: Tensor, state: State, lr: float) -> None:
        if self.weight_decay:
            grads.add_(weights, alpha=self.weight_decay)
        if self.momentum:
            state["velocity"].mul_(self.momentum).add_(grads)
            grads = grads.add(state["velocity"], alpha=self.momentum) if self.nesterov else state["velocity"]
        weights.add_(grads, alpha=-lr)


class Adam(OptimizerConfig):
    """Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980), as torch.optim.Adam."""

    name: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 0.001
    """Learning rate."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the mean of gradients."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the mean of squared gradients."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator."""
    decoupled: bool = False
    """Weight decay apart from the gradient (AdamW, Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101)."""

    def start(self, weights: Tensor) -> State:
        steps = torch.zeros((), dtype=torch.float64)
        return {"mean": torch.zeros_like(weights), "square": torch.zeros_like(weights), "steps": steps}

    def step(self, weights: Tensor, grads: Tensor, state: State, lr: float) -> None:
        if self.weight_decay and self.decoupled:
            weights.mul_(1 - lr * self.weight_decay)
        elif self.weight_decay:
            grads.add_(weights, alpha=self.weight_decay)
        steps = float(state["steps"].add_(1))
        state["mean"].lerp_(grads, 1 - self.beta1)
        state["square"].mul_(self.beta2).addcmul_(grads, grads, value=1 - self.beta2)
        root = (state["square"].sqrt() / (1 - self.beta2**steps) ** 0.5).add_(self.eps)
        weights.addcdiv_(state["mean"], root, value=-lr / (1 - self.beta1**steps))


OPTIMIZERS = Choices("optimizer", {"sgd": Sgd, "adam": Adam})
AnyOptimizer = Annotated[OptimizerConfig, OPTIMIZERS]
