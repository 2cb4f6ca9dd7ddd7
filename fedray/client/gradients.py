"""What the gradients of many clients at once are, however they are found.

Shapes: C clients, B examples in a batch; weights and gradients are one tensor a slot of the layout, each with the
clients in front: (C, *shape).
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from fedray.client.dropout import Masks
from fedray.client.stack import Batch


class Gradients(Protocol):
    """Losses of a step's examples, and gradients of each client of a stack.

    Attributes:
        shapes: The shape of each trainable slot as products want it: zeros may follow its own rows and columns.
    """

    shapes: tuple[tuple[int, ...], ...]

    def __call__(self, weights: Sequence[Tensor], batch: Batch, masks: Masks, out: Sequence[Tensor]) -> Tensor:
        """Gradients of each client's mean loss.

        Args:
            weights: One tensor a trainable slot, (C, *shape).
            batch: Examples of these clients.
            masks: Dropout masks of these clients.
            out: Where the gradients are put, like `weights`.

        Returns:
            What each example's loss counts in the mean of its client, (C, B): the mean loss is their sum.
        """
        ...
