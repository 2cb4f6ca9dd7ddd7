"""Tensors of many clients in one piece of memory: slot after slot, and within a slot client after client.

So a slot of all clients is contiguous, as batched products want it, and so is all of it, so that an optimizer steps
all clients and layers in the same few operations.

Shapes: C clients, A of them active, P parameters.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedray.client.optimizers import OptimizerConfig, State
from fedray.models.base import Slot


class Buffer:
    """One tensor a slot, of many clients.

    Args:
        slots: The layout; all of it is trainable.
        shapes: The shape of each slot, at least as large as its own; what is more holds zeros.
        num_clients: C.
        device: Where it is.

    Attributes:
        flat: All of it, one-dimensional.
        parts: A view for each slot, (C, *shape).
    """

    def __init__(
        self, slots: Sequence[Slot], shapes: Sequence[tuple[int, ...]], num_clients: int, device: torch.device
    ) -> None:
        self._slots, self._shapes, self._num_clients = slots, shapes, num_clients
        exact = all(slot.shape == shape for slot, shape in zip(slots, shapes, strict=True))
        size = num_clients * sum(math.prod(shape) for shape in shapes)
        self.flat = (torch.empty if exact else torch.zeros)(size, device=device)
        self.parts = self.views(self.flat)

    def own(self) -> Iterator[tuple[Slot, Tensor]]:
        """Each slot, and its part without padding, (C, *slot.shape)."""
        for slot, part in zip(self._slots, self.parts, strict=True):
            yield slot, part[(slice(None), *(slice(size) for size in slot.shape))]

    def fill(self, parameters: Tensor) -> None:
        """Every client gets the same parameters, shape (P,)."""
        for slot, part in self.own():
            part.copy_(parameters[slot.start : slot.stop].view(slot.shape))

    def views(self, flat: Tensor) -> list[Tensor]:
        """A view for each slot of another tensor that is laid out like this one."""
        parts = flat.split([self._num_clients * math.prod(shape) for shape in self._shapes])
        return [part.view(self._num_clients, *shape) for part, shape in zip(parts, self._shapes, strict=True)]


@dataclass(frozen=True, slots=True)
class Piece:
    """What an optimizer steps at once: everything, or the active clients' part of a slot."""

    weights: Tensor
    gradients: Tensor
    start: Tensor | None
    state: State


class Active:
    """The clients that take part: the last ones of the stack, fewer and fewer.

    Args:
        optimizer: Steps them.
        weights: What is trained.
        gradients: Where gradients are put.
        start: The round's parameters; None where nothing pulls towards them.

    Attributes:
        weights: The active clients' part of each slot, (A, *shape).
        gradients: The same of the gradients.
        pieces: What the optimizer steps.
    """

    def __init__(self, optimizer: OptimizerConfig, weights: Buffer, gradients: Buffer, start: Buffer | None) -> None:
        self._buffers = (weights, gradients, start)
        self._state = optimizer.start(weights.flat)
        self.weights, self.gradients = weights.parts, gradients.parts
        self.pieces = [Piece(weights.flat, gradients.flat, start and start.flat, self._state)]
        self._num = len(self.weights[0])

    def narrow(self, num: int) -> None:
        """From now on fewer take part."""
        if num == self._num:
            return
        weights, gradients, start = self._buffers
        counters = {name: value for name, value in self.pieces[0].state.items() if not value.dim()}
        states = {name: weights.views(value) for name, value in self._state.items() if value.dim()}
        self.weights = [part[-num:] for part in weights.parts]
        self.gradients = [part[-num:] for part in gradients.parts]
        self.pieces = [
            Piece(
                self.weights[slot],
                self.gradients[slot],
                start and start.parts[slot][-num:],
                {name: value.clone() for name, value in counters.items()}
                | {name: parts[slot][-num:] for name, parts in states.items()},
            )
            for slot in range(len(weights.parts))
        ]
        self._num = num
