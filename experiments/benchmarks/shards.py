"""What every runner reads: the same memory-mapped shards, cohorts, orders and initial parameters.

Needs NumPy alone, so that it can be imported in the environment of every runner.

Shapes: N clients, R rounds, K clients of a cohort, E rows of a client, P parameters.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.workloads import Workload

Array = NDArray[Any]


class Shards:
    """The files of one workload.

    Arrays are mapped copy-on-write: all processes share the pages of the page cache, and torch, which cannot express
    read-only memory, does not warn.

    Args:
        folder: Where `prepare` put them.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.workload = Workload.read(self.folder / "workload.json")

    def __reduce__(self) -> tuple[type["Shards"], tuple[str]]:
        """Travels as a path."""
        return Shards, (str(self.folder),)

    def _load(self, name: str) -> Array:
        return np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="c"))

    @cached_property
    def x(self) -> Array:
        """Features, float32, (N, E, *features)."""
        return self._load("x")

    @cached_property
    def y(self) -> Array:
        """Labels, int64, (N, E)."""
        return self._load("y")

    @cached_property
    def test(self) -> tuple[Array, Array]:
        """Features and labels of the test set."""
        return self._load("test_x"), self._load("test_y")

    @cached_property
    def cohorts(self) -> Array:
        """Client ids of each round, int64, (R, K), sorted."""
        return self._load("cohorts")

    @cached_property
    def orders(self) -> Array:
        """Order of each client's rows in the rounds of a check, int64, (check rounds, K, E)."""
        return self._load("orders")

    @cached_property
    def initial(self) -> Array:
        """Parameters before the first round, float32, (P,)."""
        return self._load("initial")
