"""Clients by operating regime: a machine that runs under one condition only."""

from typing import Literal

import numpy as np
from pydantic import PositiveInt

from fedray import seeds
from fedray.data.base import Partition, Table
from fedray.data.partition.base import PartitionConfig, check_enough, equal_sizes, group
from fedray.errors import DataError
from fedray.messages import Ints


class Regime(PartitionConfig):
    """Each client holds random examples of one operating regime; large regimes have more clients."""

    name: Literal["regime"] = "regime"
    num_clients: PositiveInt = 100
    """Number of clients, at least one for each regime."""

    def partition(self, table: Table, seed: int) -> Partition:
        """Shares the clients out among the regimes, then each regime's examples among its clients."""
        if table.regimes is None:
            raise DataError("this data has no operating regimes; change partition.name to iid or dirichlet")
        check_enough(table, self.num_clients, 1, "partition.num_clients")
        regimes = np.unique(table.regimes, return_inverse=True)[1]
        counts = np.bincount(regimes)
        if self.num_clients < len(counts):
            raise DataError(
                f"{self.num_clients} clients are fewer than the {len(counts)} operating regimes of the data; "
                f"raise partition.num_clients to {len(counts)} or more"
            )
        return self._deal(regimes, counts, clients_per_regime(counts, self.num_clients), seed)

    def _deal(self, regimes: Ints, counts: Ints, clients: Ints, seed: int) -> Partition:
        shuffled = seeds.generator(seed, "partition").permutation(len(regimes))
        by_regime = shuffled[np.argsort(regimes[shuffled], kind="stable")]
        sizes = np.concatenate([equal_sizes(int(n), int(c)) for n, c in zip(counts, clients, strict=True)])
        owners = np.empty(len(regimes), dtype=np.int64)
        owners[by_regime] = np.repeat(np.arange(self.num_clients), sizes)
        return group(owners, self.num_clients)


def clients_per_regime(counts: Ints, num_clients: int) -> Ints:
    """Clients of each regime, shape (R,): at least one, at most one an example, else in proportion to examples."""
    clients = np.ones(len(counts), dtype=np.int64)
    exact = counts * num_clients / counts.sum()
    clients = np.minimum(np.maximum(clients, np.floor(exact).astype(np.int64)), counts)
    while clients.sum() != num_clients:
        if clients.sum() < num_clients:
            clients[np.argmax(np.where(clients < counts, exact - clients, -np.inf))] += 1
        else:
            clients[np.argmin(np.where(clients > 1, exact - clients, np.inf))] -= 1
    return clients
