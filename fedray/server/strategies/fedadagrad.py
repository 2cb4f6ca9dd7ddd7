"""FedAdagrad: Reddi et al. 2021, algorithm 2, https://arxiv.org/abs/2003.00295."""

from typing import Annotated, Literal

from pydantic import Field

from fedray.messages import Array
from fedray.server.adaptive import Adaptive


class FedAdagrad(Adaptive):
    """v = v + delta^2."""

    name: Literal["fedadagrad"] = "fedadagrad"
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the mean of changes; the paper sets 0 for FedAdagrad."""

    def square(self, square: Array, delta_squared: Array) -> Array:
        return square + delta_squared
