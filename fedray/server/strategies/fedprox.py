"""FedProx: Li et al. 2020, algorithm 2, https://arxiv.org/abs/1812.06127."""

from typing import Annotated, Literal

from pydantic import Field

from fedray.messages import Array
from fedray.server.strategy import Slots, Strategy


class FedProx(Strategy):
    """FedAvg whose clients add mu/2 * |w - w_t|^2 to their loss."""

    name: Literal["fedprox"] = "fedprox"
    lr: Annotated[float, Field(gt=0)] = 1.0
    """Server learning rate."""
    mu: Annotated[float, Field(gt=0)] = 0.01
    """Strength of the pull towards the round's parameters."""

    @property
    def client_proximal(self) -> float:
        return self.mu

    def step(self, weights: Array, delta: Array, slots: Slots) -> tuple[Array, Slots]:
        return weights + self.lr * delta, slots
