"""The pathological split: sort by label, cut into equal pieces, give each client a few.

H. B. McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017,
https://arxiv.org/abs/1602.05629, section 3.
"""

from typing import Literal

import numpy as np
from pydantic import PositiveInt

from fedray import seeds
from fedray.data.base import Partition, Table
from fedray.data.partition.base import PartitionConfig, check_enough, equal_sizes, group, labels_or_bins


class LabelShards(PartitionConfig):
    """Each client gets a few pieces of the examples sorted by label, so that it knows a few classes only."""

    name: Literal["shards"] = "shards"
    num_clients: PositiveInt = 100
    """Number of clients."""
    shards_per_client: PositiveInt = 2
    """Pieces that each client gets."""
    bins: PositiveInt = 10
    """Regression: targets are put into so many quantile bins, which stand for classes."""

    def partition(self, table: Table, seed: int) -> Partition:
        """Sorts, cuts and deals."""
        num_pieces = self.num_clients * self.shards_per_client
        setting = "partition.num_clients or partition.shards_per_client"
        check_enough(table, self.num_clients, self.shards_per_client, setting)
        random = seeds.generator(seed, "partition")
        shuffled = random.permutation(len(table.train))
        by_label = shuffled[np.argsort(labels_or_bins(table, self.bins)[shuffled], kind="stable")]
        takers = random.permutation(np.repeat(np.arange(self.num_clients), self.shards_per_client))
        owners = np.empty(len(by_label), dtype=np.int64)
        owners[by_label] = np.repeat(takers, equal_sizes(len(by_label), num_pieces))
        return group(owners, self.num_clients)
