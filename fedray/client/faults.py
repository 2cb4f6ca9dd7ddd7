"""Faults of clients on purpose: training that raises, updates that are damaged. The same wherever a client is trained.

Shapes: C clients trained together, P parameters.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fedray import seeds
from fedray.errors import InjectedFault
from fedray.messages import Block, Fault, Ints


class ClientFaults:
    """The faults of the clients of some blocks; false where there are none.

    Args:
        blocks: The blocks.
        seed: The experiment's seed.
    """

    def __init__(self, blocks: Sequence[Block], seed: int) -> None:
        faults = [fault for block in blocks for fault in block.faults]
        self._seed = seed
        self._raising = {fault.client: fault for fault in faults if fault.kind == "exception"}
        self._corrupt = [fault for fault in faults if fault.kind == "corrupt"]

    def __bool__(self) -> bool:
        return bool(self._raising or self._corrupt)

    def check(self, clients: Ints) -> None:
        """Called where clients are trained together.

        Raises:
            InjectedFault: The training of one of them fails on purpose.
        """
        for client in clients.tolist():
            if client in self._raising:
                raise InjectedFault(f"the training of client {client} fails as fault {self._raising[client].id} says")

    def damage(self, clients: Ints, delta_CP: Tensor) -> dict[int, Tensor]:
        """Damages updates in place; those that get another length are given back by their row.

        Args:
            clients: Client ids, shape (C,).
            delta_CP: Their updates, float32, shape (C, P).
        """
        resized: dict[int, Tensor] = {}
        for fault in self._corrupt:
            for row in np.flatnonzero(clients == fault.client).tolist():
                if fault.how == "shape":
                    resized[row] = delta_CP[row, :-1]
                else:
                    self._damage(fault, delta_CP[row])
        return resized

    def _damage(self, fault: Fault, delta_P: Tensor) -> None:
        key = seeds.keys(self._seed, "corrupt", fault.round, [fault.client])
        place = int(seeds.words(key, 1)[0, 0]) % len(delta_P)
        if fault.how == "bit_flip":
            bit = torch.tensor(1 << int(fault.amount), dtype=torch.int64).to(torch.int32)
            delta_P[place : place + 1].view(torch.int32).bitwise_xor_(bit)
        else:
            delta_P[place] = float(fault.how)
