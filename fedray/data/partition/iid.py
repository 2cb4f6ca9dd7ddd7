"""Every client a random sample of the same size."""

from typing import Literal

from pydantic import PositiveInt

from fedray import seeds
from fedray.data.base import Partition, Table
from fedray.data.partition.base import PartitionConfig, check_enough, deal, equal_sizes


class Iid(PartitionConfig):
    """Examples dealt out at random; sizes differ by at most one."""

    name: Literal["iid"] = "iid"
    num_clients: PositiveInt = 100
    """Number of clients."""

    def partition(self, table: Table, seed: int) -> Partition:
        """Shuffles and deals."""
        check_enough(table, self.num_clients, 1, "partition.num_clients")
        order = seeds.generator(seed, "partition").permutation(len(table.train))
        return deal(order, equal_sizes(len(order), self.num_clients))
