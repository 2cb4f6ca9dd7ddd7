"""One after the other: consecutive pieces of a random order of all clients."""

from typing import Literal

import numpy as np

from fedray.messages import Ints
from fedray.server.draws import permute
from fedray.server.selection.base import Candidates, Memory, Selection


class WithoutReplacement(Selection):
    """One round after the other takes the next of a random order.

    A new order begins when fewer are left than a round takes; they sit out.
    """

    name: Literal["without_replacement"] = "without_replacement"

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        num, size = len(candidates.clients), candidates.wanted
        cycle, place = divmod(candidates.round - 1, num // size)
        positions = np.arange(place * size, (place + 1) * size)
        return candidates.clients[permute(positions, num, candidates.seed, cycle)]
