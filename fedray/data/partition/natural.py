"""Clients as the data knows them: an engine, a machine, a day."""

from typing import Literal

import numpy as np

from fedray.data.base import Partition, Table
from fedray.data.partition.base import PartitionConfig, group
from fedray.errors import DataError


class Natural(PartitionConfig):
    """Each natural owner of the source is a client; owners without training examples are left out."""

    name: Literal["natural"] = "natural"

    def partition(self, table: Table, seed: int) -> Partition:
        """Groups the examples by owner."""
        if table.owners is None:
            raise DataError("this data has no natural clients; change partition.name to iid or dirichlet")
        owners = np.unique(table.owners, return_inverse=True)[1].astype(np.int64)
        return group(owners, int(owners.max()) + 1)
