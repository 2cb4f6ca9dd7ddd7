"""Updates as the server decodes them, and what clients keep of what was lost on the way.

Shapes: C clients, P parameters.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fedray import seeds
from fedray.compression.memory import with_memory
from fedray.compression.settings import CompressionConfig
from fedray.messages import Floats, Ints
from fedray.models.tensors import as_tensor


@dataclass(frozen=True, slots=True)
class Memory:
    """What some clients keep between rounds.

    Attributes:
        rows: Of these clients and of others, shape (*, P); changed in place.
        places: Which rows are theirs, in their order, shape (C,).
    """

    rows: Floats
    places: Ints


class Sending:
    """The way of updates from some clients to the server.

    Args:
        compression: The settings.
        seed: The experiment's seed.
        round: Round number, from 1.
        memory: What the clients keep; None: nothing.
    """

    def __init__(self, compression: CompressionConfig, seed: int, round: int, memory: Memory | None) -> None:
        self._codec, self._seed, self._round, self._memory = compression.up, seed, round, memory
        self._residuals: dict[int, Floats] = {}

    def decoded(self, places: Ints, clients: Ints, delta_CP: Tensor) -> Tensor:
        """What the server decodes of updates, shape (C, P).

        Args:
            places: Positions of the clients among all that are sent for.
            clients: Their ids, shape (C,).
            delta_CP: Their updates; not changed.
        """
        if self._codec is None:
            return delta_CP
        keys = seeds.keys(self._seed, "compression up", self._round, clients)
        if self._memory is None:
            return self._codec.apply(delta_CP, keys)
        kept_CP = as_tensor(self._memory.rows[self._memory.places[places]]).to(delta_CP.device)
        decoded_CP, residual_CP = with_memory(self._codec, delta_CP, kept_CP, keys)
        self._residuals |= dict(zip(places.tolist(), residual_CP.cpu().numpy(), strict=True))
        return decoded_CP

    def keep(self, places: Ints) -> None:
        """Has the clients at some places keep what was lost: the server has taken their updates."""
        if self._memory is not None and len(places):
            self._memory.rows[self._memory.places[places]] = np.stack([self._residuals[p] for p in places.tolist()])
        self._residuals.clear()
