"""What local training gives."""

from dataclasses import dataclass

from torch import Tensor

from fedray.messages import Array, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The outcome of local training of some clients.

    Attributes:
        delta: Change of the parameters, float32, shape (C, P); where the engine trains.
        loss: Mean loss over all steps, before each step, float64, shape (C,).
        steps: Optimizer steps taken, shape (C,).
    """

    delta: Tensor
    loss: Array
    steps: Ints
