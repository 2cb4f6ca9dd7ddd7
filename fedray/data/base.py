"""What every data source gives: shards by client id, a test set, and the shape of it all.

A source is settings (`DataConfig`) that `load()` into `FederatedData`. Two kinds exist: arrays cut up by a partition
(`ArrayData`), and data generated from the client id, which needs no storage.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from fedray.config import Config
from fedray.errors import DataError
from fedray.messages import Array, DataSpec, Ints, Joined, Shard


class FederatedData(ABC):
    """A population's data. Picklable; arrays travel without copies.

    Attributes:
        spec: Shapes and task.
        sizes: Number of examples of each client, int64, shape (num_clients,).
    """

    spec: DataSpec
    sizes: Ints

    @property
    def num_clients(self) -> int:
        """Size of the population."""
        return len(self.sizes)

    @abstractmethod
    def shard(self, client: int) -> Shard:
        """The examples of one client: a pure function of the client id."""

    def shards(self, clients: Ints) -> list[Shard]:
        """The examples of many clients, in order; sources that generate do it faster than one by one."""
        return [self.shard(int(client)) for client in clients]

    def joined(self, clients: Ints) -> Joined:
        """The examples of many clients in shared arrays; sources that have such arrays give them as they are."""
        return Joined.of(self.shards(clients))

    @abstractmethod
    def test(self) -> Shard | None:
        """The central test set, where the source has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Which examples belong to which client, as two arrays.

    Attributes:
        offsets: int64, shape (num_clients + 1,): client c owns indices[offsets[c]:offsets[c + 1]].
        indices: int64, shape (num_assigned,): positions in the data set.
    """

    offsets: Ints
    indices: Ints

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Ints:
        """Number of examples of each client, shape (num_clients,)."""
        return np.diff(self.offsets)

    def of(self, client: int) -> Ints:
        """Positions of one client's examples."""
        return self.indices[self.offsets[client] : self.offsets[client + 1]]

    def of_many(self, clients: Ints) -> Ints:
        """Positions of the examples of some clients, one client after another."""
        sizes = self.sizes[clients]
        moves = self.offsets[clients] - (np.cumsum(sizes) - sizes)
        return self.indices[np.arange(sizes.sum()) + np.repeat(moves, sizes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A data set before it is cut up.

    Attributes:
        train: All training examples.
        test: Held-out examples, or None.
        spec: Shapes and task.
        owners: Natural client of each training example, int64 in [0, num_owners), shape (N,), or None.
        regimes: Operating regime of each training example, int64, shape (N,), or None.
    """

    train: Shard
    test: Shard | None
    spec: DataSpec
    owners: Ints | None = None
    regimes: Ints | None = None

    def __post_init__(self) -> None:
        for part, shard in (("training", self.train), ("test", self.test)):
            if shard is not None:
                _check_finite(shard.x, f"{part} features")
                _check_finite(shard.y, f"{part} targets")


def _check_finite(values: Array, what: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.size(values) - np.isfinite(values).sum())
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DataError(
            f"the {what} hold {bad} values that are NaN or infinite, the first in row {row}; clean the data"
        )


class ArrayData(FederatedData):
    """Arrays cut up by a partition.

    Args:
        table: The data set.
        partition: Who owns what.
    """

    def __init__(self, table: Table, partition: Partition) -> None:
        empty = np.flatnonzero(partition.sizes == 0)
        if len(empty):
            raise DataError(
                f"client {empty[0]} has no examples ({len(empty)} of {partition.num_clients} clients are empty); "
                "change partition, or lower partition.num_clients"
            )
        self.table, self.partition = table, partition
        self.spec, self.sizes = table.spec, partition.sizes

    def shard(self, client: int) -> Shard:
        rows = self.partition.of(client)
        return Shard(x=self.table.train.x[rows], y=self.table.train.y[rows])

    def joined(self, clients: Ints) -> Joined:
        train, sizes = self.table.train, self.sizes[clients]
        return Joined(x=train.x, y=train.y, rows=self.partition.of_many(clients), sizes=sizes)

    def test(self) -> Shard | None:
        return self.table.test


class DataConfig(Config, ABC):
    """Settings of a data source that fills a `Table`; `partition` cuts it up."""

    name: str

    @abstractmethod
    def table(self, seed: int) -> Table:
        """Reads the data set.

        Args:
            seed: The experiment's seed, for sources that draw a subset or a split.

        Raises:
            DataError: A file is missing or damaged, or holds values that cannot be trained on.
        """


class GeneratedDataConfig(Config, ABC):
    """Settings of a source whose shards are generated from the client id; it needs no partition."""

    name: str

    @abstractmethod
    def load(self, seed: int) -> FederatedData:
        """The population's data, nothing of it stored."""
