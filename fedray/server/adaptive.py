"""What FedAdagrad, FedAdam and FedYogi share: algorithm 2 of Reddi et al. 2021, https://arxiv.org/abs/2003.00295."""

from abc import abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from fedray.messages import Array
from fedray.server.strategy import Slots, Strategy


class Adaptive(Strategy):
    """m = beta1 * m + (1 - beta1) * delta; v as each method says; w = w + lr * m / (sqrt(v) + tau).

    As in the paper: v starts at tau^2, and there is no bias correction.
    """

    lr: Annotated[float, Field(gt=0)] = 0.01
    """Server learning rate (eta)."""
    tau: Annotated[float, Field(gt=0)] = 1e-3
    """Degree of adaptivity; smaller adapts more."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the mean of changes."""

    def start(self, weights: Array) -> Slots:
        return {"mean": np.zeros_like(weights), "square": np.full_like(weights, self.tau**2)}

    def step(self, weights: Array, delta: Array, slots: Slots) -> tuple[Array, Slots]:
        mean = self.beta1 * slots["mean"] + (1 - self.beta1) * delta
        square = self.square(slots["square"], delta * delta)
        return weights + self.lr * mean / (np.sqrt(square) + self.tau), {"mean": mean, "square": square}

    @abstractmethod
    def square(self, square: Array, delta_squared: Array) -> Array:
        """The next v, from v and the squared mean of changes."""
