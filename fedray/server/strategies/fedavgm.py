"""FedAvgM: Hsu, Qi and Brown 2019, https://arxiv.org/abs/1909.06335."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray.messages import Array
from fedray.server.strategy import Slots, Strategy


class FedAvgM(Strategy):
    """Server momentum: v = beta * v + mean of the changes; w = w + lr * v."""

    name: Literal["fedavgm"] = "fedavgm"
    lr: Annotated[float, Field(gt=0)] = 1.0
    """Server learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """beta."""

    def start(self, weights: Array) -> Slots:
        return {"velocity": np.zeros_like(weights)}

    def step(self, weights: Array, delta: Array, slots: Slots) -> tuple[Array, Slots]:
        velocity = self.momentum * slots["velocity"] + delta
        return weights + self.lr * velocity, {"velocity": velocity}
