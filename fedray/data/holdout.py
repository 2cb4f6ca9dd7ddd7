"""Each client keeps a part of its shard for evaluation."""

import numpy as np

from fedray import seeds
from fedray.data.base import FederatedData
from fedray.messages import Ints, Joined, Shard


class Holdout:
    """A population's data with a part of every shard held back.

    Args:
        data: The population's data.
        fraction: Part of each shard that is held back for evaluation, in [0, 1). A client always keeps one example for
            training, and holds one back when it has two and the fraction is above 0.
        seed: The experiment's seed.
    """

    def __init__(self, data: FederatedData, fraction: float, seed: int) -> None:
        self.data, self.fraction, self.seed = data, fraction, seed
        self.sizes: Ints = data.sizes - self._held(data.sizes)

    def _held(self, sizes: Ints) -> Ints:
        if self.fraction == 0:
            return np.zeros_like(sizes)
        return np.minimum(np.maximum(np.rint(sizes * self.fraction).astype(np.int64), 1), sizes - 1)

    def train_shards(self, clients: Ints) -> list[Shard]:
        """The examples that some clients train on, in order."""
        shards = self.data.shards(clients)
        if self.fraction == 0:
            return shards
        return [self._kept(client, shard) for client, shard in zip(clients.tolist(), shards, strict=True)]

    def train_joined(self, clients: Ints) -> Joined:
        """The examples that some clients train on, in shared arrays, one client after another."""
        joined = self.data.joined(clients)
        if self.fraction == 0:
            return joined
        kept, starts = self.sizes[clients], np.cumsum(joined.sizes) - joined.sizes
        rows: list[Ints] = [np.empty(0, np.int64)] * len(clients)
        for size in np.unique(joined.sizes):
            places = np.flatnonzero(joined.sizes == size)
            order = seeds.permutations(seeds.keys(self.seed, "holdout", 0, clients[places]), int(size))
            first = np.sort(order[:, : kept[places[0]]], axis=1) + starts[places][:, None]
            for place, chosen in zip(places, joined.rows[first], strict=True):
                rows[place] = chosen
        return Joined(x=joined.x, y=joined.y, rows=np.concatenate(rows), sizes=kept)

    def train(self, client: int) -> Shard:
        """The examples a client trains on."""
        shard = self.data.shard(client)
        return self._kept(client, shard) if self.fraction else shard

    def _kept(self, client: int, shard: Shard) -> Shard:
        rows = self._order(client, len(shard))[: self.sizes[client]]
        return Shard(x=shard.x[rows], y=shard.y[rows])

    def held(self, client: int) -> Shard:
        """The examples a client is evaluated on: what it held back, or all it has when nothing is held back."""
        shard = self.data.shard(client)
        rows = self._order(client, len(shard))[self.sizes[client] :] if self.fraction else np.arange(len(shard))
        rows = rows if len(rows) else np.arange(len(shard))
        return Shard(x=shard.x[rows], y=shard.y[rows])

    def _order(self, client: int, num_examples: int) -> Ints:
        """Which examples are held back: random, always the same, kept in their order within each part."""
        order = seeds.permutations(seeds.keys(self.seed, "holdout", 0, client), num_examples)[0]
        kept = int(self.sizes[client])
        return np.concatenate([np.sort(order[:kept]), np.sort(order[kept:])])
