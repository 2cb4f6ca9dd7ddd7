"""FedYogi: Reddi et al. 2021, algorithm 2, https://arxiv.org/abs/2003.00295."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray.messages import Array
from fedray.server.adaptive import Adaptive


class FedYogi(Adaptive):
    """v = v - (1 - beta2) * delta^2 * sign(v - delta^2)."""

    name: Literal["fedyogi"] = "fedyogi"
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of v."""

    def square(self, square: Array, delta_squared: Array) -> Array:
        return square - (1 - self.beta2) * delta_squared * np.sign(square - delta_squared)
