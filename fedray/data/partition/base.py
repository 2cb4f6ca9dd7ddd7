"""What every partitioner gives, and what they share.

Shapes: N examples, C clients.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from fedray.config import Config
from fedray.data.base import Partition, Table
from fedray.errors import DataError
from fedray.messages import Ints


class PartitionConfig(Config, ABC):
    """Settings of a partitioner: who owns which example. Every example has at most one owner."""

    name: str

    @abstractmethod
    def partition(self, table: Table, seed: int) -> Partition:
        """Cuts up the training examples.

        Args:
            table: The data set.
            seed: The experiment's seed.

        Raises:
            DataError: The data cannot be cut up so; the message names the setting to change.
        """


def group(owners: Ints, num_clients: int) -> Partition:
    """The partition in which `owners`, shape (N,), says whose each example is; a negative owner is nobody."""
    indices = np.argsort(owners, kind="stable")
    indices = indices[np.searchsorted(owners[indices], 0) :]
    counts = np.bincount(owners[indices], minlength=num_clients)
    return Partition(offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), indices=indices)


def deal(order: Ints, sizes: Ints) -> Partition:
    """The partition that hands out `order` from the front, client after client; each client's rows are sorted."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    rows = order[: len(owners)]
    rows = rows[np.lexsort((rows, owners))]
    return Partition(offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), indices=rows)


def equal_sizes(num: int, parts: int) -> Ints:
    """Sizes of `parts` parts of `num` things that differ by at most one, shape (parts,)."""
    return num // parts + (np.arange(parts) < num % parts).astype(np.int64)


def check_enough(table: Table, num_clients: int, each: int, setting: str) -> None:
    """Refuses more clients than there are examples for."""
    if len(table.train) < num_clients * each:
        raise DataError(
            f"{len(table.train)} examples are too few for {num_clients} clients with at least {each} each; "
            f"lower {setting}"
        )


def top_up(partition: Partition, min_size: int, random: np.random.Generator) -> Partition:
    """Gives clients with fewer than `min_size` examples random examples of those that have more."""
    need = np.maximum(min_size - partition.sizes, 0)
    owners = np.repeat(np.arange(partition.num_clients), partition.sizes)
    rank = np.arange(len(owners)) - partition.offsets[owners]
    spare = np.flatnonzero(rank[random_within(owners, random)] >= min_size)
    moved = random.choice(spare, size=int(need.sum()), replace=False)
    owners[moved] = np.repeat(np.arange(partition.num_clients), need)
    order = np.lexsort((partition.indices, owners))
    counts = np.bincount(owners, minlength=partition.num_clients)
    return Partition(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), indices=partition.indices[order]
    )


def random_within(owners: Ints, random: np.random.Generator) -> NDArray[np.int64]:
    """A permutation that shuffles positions within each run of equal owners, shape (N,)."""
    order = random.permutation(len(owners))
    return order[np.argsort(owners[order], kind="stable")]


def labels_or_bins(table: Table, bins: int) -> Ints:
    """Class of each example; for regression the bin of its target among `bins` quantiles. Shape (N,)."""
    y = table.train.y
    if table.spec.task == "classification":
        return y.astype(np.int64)
    edges = np.quantile(y, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.searchsorted(np.unique(edges), y, side="right").astype(np.int64)
