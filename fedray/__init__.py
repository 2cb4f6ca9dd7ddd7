"""fedray: a Ray-based distributed scale-out simulator for federated learning.

    import fedray
    result = fedray.run(fedray.Experiment(rounds=5))
    result.history, result.model, result.digest

Names are imported when they are first used, so that `import fedray` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedray.api import resume, run, sync
    from fedray.data.base import ArrayData, DataConfig, FederatedData, GeneratedDataConfig, Partition, Table
    from fedray.data.partition.base import PartitionConfig
    from fedray.experiment import Experiment, load
    from fedray.messages import DataSpec, Shard
    from fedray.models.base import ModelConfig
    from fedray.report.result import Result
    from fedray.server.strategy import Strategy

__version__ = "0.1.0"

__all__ = [
    "ArrayData",
    "DataConfig",
    "DataSpec",
    "Experiment",
    "FederatedData",
    "GeneratedDataConfig",
    "ModelConfig",
    "Partition",
    "PartitionConfig",
    "Result",
    "Shard",
    "Strategy",
    "Table",
    "load",
    "resume",
    "run",
    "sync",
]

_HOMES = {
    "ArrayData": "fedray.data.base",
    "DataConfig": "fedray.data.base",
    "DataSpec": "fedray.messages",
    "Experiment": "fedray.experiment",
    "FederatedData": "fedray.data.base",
    "GeneratedDataConfig": "fedray.data.base",
    "ModelConfig": "fedray.models.base",
    "Partition": "fedray.data.base",
    "PartitionConfig": "fedray.data.partition.base",
    "Result": "fedray.report.result",
    "Shard": "fedray.messages",
    "Strategy": "fedray.server.strategy",
    "Table": "fedray.data.base",
    "load": "fedray.experiment",
    "resume": "fedray.api",
    "run": "fedray.api",
    "sync": "fedray.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fedray' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
