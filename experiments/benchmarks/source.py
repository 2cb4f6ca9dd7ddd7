"""fedray's view of the shards: a data source of a user's own."""

import numpy as np

from experiments.benchmarks.shards import Shards
from fedray.data.base import FederatedData, GeneratedDataConfig
from fedray.messages import DataSpec, Ints, Joined, Shard


class Cached(GeneratedDataConfig):
    """Memory-mapped shards of a benchmark."""

    name: str
    folder: str
    """Folder of the workload's files."""

    def load(self, seed: int) -> "CachedData":
        return CachedData(self.folder)


class CachedData(FederatedData):
    """Shards as views of memory-mapped files; travels to actors as a path.

    Args:
        folder: Folder of the workload's files.
    """

    def __init__(self, folder: str) -> None:
        self.files = Shards(folder)
        workload = self.files.workload
        self.spec = DataSpec(features=workload.features, task="classification", num_outputs=workload.classes)
        self.sizes = np.full(workload.clients, workload.rows, np.int64)

    def __reduce__(self) -> tuple[type["CachedData"], tuple[str]]:
        return CachedData, (str(self.files.folder),)

    def shard(self, client: int) -> Shard:
        return Shard(x=self.files.x[client], y=self.files.y[client])

    def shards(self, clients: Ints) -> list[Shard]:
        x, y = self.files.x, self.files.y
        return [Shard(x=x[client], y=y[client]) for client in clients.tolist()]

    def joined(self, clients: Ints) -> Joined:
        x, y, rows = self.files.x, self.files.y, self.files.workload.rows
        places = (clients[:, None] * rows + np.arange(rows)).ravel()
        return Joined(x=x.reshape(-1, *x.shape[2:]), y=y.ravel(), rows=places, sizes=self.sizes[clients])

    def test(self) -> Shard | None:
        """None: the bench evaluates all runners' final parameters itself."""
        return None
