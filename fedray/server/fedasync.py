"""FedAsync: Xie, Koyejo and Gupta 2019, algorithm 1, https://arxiv.org/abs/1903.03934.

Shapes: P parameters.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray.messages import Array, Floats
from fedray.server.asynchronous import Asynchronous


class FedAsync(Asynchronous):
    """The server mixes each update's model into its own as soon as it is there: w = (1 - a) w + a w_k.

    The paper's clients have a proximal term: `training.proximal`.
    """

    name: Literal["fedasync"] = "fedasync"
    mixing: Annotated[float, Field(gt=0, le=1)] = 0.6
    """The part of a fresh model in the mixture, the paper's alpha."""
    staleness: Literal["constant", "polynomial", "hinge"] = "polynomial"
    """How that part falls with the steps that were taken since the device was sent the model, t: not; times
    1 / (1 + t) to the power; or not up to `hinge`, then times 1 / (power (t - hinge) + 1)."""
    staleness_power: Annotated[float, Field(ge=0)] = 0.5
    """The paper's a."""
    hinge: Annotated[int, Field(ge=0)] = 4
    """The paper's b, in steps."""

    def part(self, staleness: int) -> float:
        """The part of a model of some staleness in the mixture, in (0, 1]."""
        if self.staleness == "polynomial":
            return float(self.mixing * (1.0 + staleness) ** -self.staleness_power)
        if self.staleness == "hinge" and staleness > self.hinge:
            return self.mixing / (self.staleness_power * (staleness - self.hinge) + 1)
        return self.mixing


def mixed(parameters: Floats, start: Floats, change: Array, part: float) -> Array:
    """What mixing a client's model in changes of the server's, float64, shape (P,).

    Args:
        parameters: The server's model, shape (P,).
        start: What the client started from, shape (P,).
        change: What its training changed, float64, shape (P,).
        part: The part of the client's model in the mixture.
    """
    return part * (start.astype(np.float64) + change - parameters)
