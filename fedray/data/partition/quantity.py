"""Quantity skew: few clients with many examples, many with few.

As in the "quantity skew" setting of Q. Li et al., "Federated learning on non-IID data silos", ICDE 2022,
https://arxiv.org/abs/2102.02079, with a power law instead of a Dirichlet draw.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from fedray import seeds
from fedray.data.base import Partition, Table
from fedray.data.partition.base import PartitionConfig, check_enough, deal
from fedray.messages import Ints


class Quantity(PartitionConfig):
    """Random examples, sizes by a power law: the r-th largest client has a share proportional to r^-exponent."""

    name: Literal["quantity"] = "quantity"
    num_clients: PositiveInt = 100
    """Number of clients."""
    exponent: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    """Steepness: 0 gives equal sizes, 1 is Zipf's law."""
    min_size: PositiveInt = 1
    """Examples that every client has at least; the power law shares out the rest."""

    def partition(self, table: Table, seed: int) -> Partition:
        """Draws who is how large, shuffles and deals."""
        check_enough(table, self.num_clients, self.min_size, "partition.num_clients or partition.min_size")
        random = seeds.generator(seed, "partition")
        order = random.permutation(len(table.train))
        rest = len(order) - self.num_clients * self.min_size
        sizes = self.min_size + _power_law(rest, self.num_clients, self.exponent)
        return deal(order, random.permutation(sizes))


def _power_law(num: int, parts: int, exponent: float) -> Ints:
    """Splits `num` by rank^-exponent, shape (parts,), largest remainders rounded up."""
    shares = np.arange(1, parts + 1, dtype=np.float64) ** -exponent
    exact = num * shares / shares.sum()
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: num - sizes.sum()]] += 1
    return sizes
