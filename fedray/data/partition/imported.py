"""A partitioner of the user's own, chosen by import path."""

import inspect
from typing import Any

import numpy as np
from pydantic import Field

from fedray.config import load_object, parse, users_own
from fedray.data.base import Partition, Table
from fedray.data.partition.base import PartitionConfig, group
from fedray.errors import ConfigError, DataError


class ImportedPartition(PartitionConfig):
    """A partitioner by import path: a settings class, or a function of `table` and `seed`.

    The function returns a `Partition`, or an array that says whose each example is (negative: nobody's).
    """

    name: str
    """Import path: `my_pkg.split:ByPlant`."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Settings of the class, or further arguments of the function."""

    def partition(self, table: Table, seed: int) -> Partition:
        """What the user's partitioner gives, checked: every example has at most one owner."""
        found = load_object(self.name, "partition.name")
        if isinstance(found, type) and issubclass(found, PartitionConfig):
            named = found.model_fields["name"].is_required()
            config = parse(found, {"name": self.name, **self.args} if named else self.args, "partition.args")
            with users_own(f"partition '{self.name}'", "partition.name"):
                return self._checked(config.partition(table, seed), table)
        if not callable(found):
            raise ConfigError(f"partition.name is '{self.name}', which is no partitioner; change partition.name")
        return self._checked(self._call(found, table, seed), table)

    def _call(self, function: Any, table: Table, seed: int) -> Any:
        try:
            inspect.signature(function).bind(table=table, seed=seed, **self.args)
        except TypeError as error:
            raise ConfigError(f"partition '{self.name}' cannot be called: {error}; change partition.args") from error
        with users_own(f"partition '{self.name}'", "partition.name"):
            return function(table=table, seed=seed, **self.args)

    def _checked(self, result: Any, table: Table) -> Partition:
        if not isinstance(result, Partition):
            owners = np.asarray(result)
            if owners.shape != (len(table.train),) or owners.dtype.kind not in "iu":
                raise DataError(
                    f"partition '{self.name}' gave {owners.dtype} of shape {owners.shape}, but must give a Partition "
                    f"or whole numbers of shape ({len(table.train)},)"
                )
            result = group(owners.astype(np.int64), int(owners.max()) + 1)
        inside = (result.indices >= 0) & (result.indices < len(table.train))
        if not inside.all() or len(np.unique(result.indices)) != len(result.indices):
            raise DataError(f"partition '{self.name}' gave an example to two clients, or one that does not exist")
        return result
