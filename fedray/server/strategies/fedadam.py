"""FedAdam: Reddi et al. 2021, algorithm 2, https://arxiv.org/abs/2003.00295."""

from typing import Annotated, Literal

from pydantic import Field

from fedray.messages import Array
from fedray.server.adaptive import Adaptive


class FedAdam(Adaptive):
    """v = beta2 * v + (1 - beta2) * delta^2."""

    name: Literal["fedadam"] = "fedadam"
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of v."""

    def square(self, square: Array, delta_squared: Array) -> Array:
        return self.beta2 * square + (1 - self.beta2) * delta_squared
