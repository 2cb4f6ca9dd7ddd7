"""FedAvg: McMahan et al. 2017, algorithm 1, https://arxiv.org/abs/1602.05629."""

from typing import Annotated, Literal

from pydantic import Field

from fedray.messages import Array
from fedray.server.strategy import Slots, Strategy


class FedAvg(Strategy):
    """w_{t+1} = w_t + lr * mean of the changes; with lr = 1 that is sum_k (n_k / n) w_k."""

    name: Literal["fedavg"] = "fedavg"
    lr: Annotated[float, Field(gt=0)] = 1.0
    """Server learning rate."""

    def step(self, weights: Array, delta: Array, slots: Slots) -> tuple[Array, Slots]:
        return weights + (delta if self.lr == 1 else self.lr * delta), slots
