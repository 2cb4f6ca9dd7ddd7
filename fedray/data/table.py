"""Which data sources and partitions can be chosen by name, and how the two become a population's data."""

from typing import Annotated

from fedray.config import Choices, users_own
from fedray.data.ai4i import Ai4i
from fedray.data.base import ArrayData, DataConfig, FederatedData, GeneratedDataConfig
from fedray.data.cmapss import Cmapss
from fedray.data.cwru import Cwru
from fedray.data.fleet import Fleet
from fedray.data.hydraulic import Hydraulic
from fedray.data.images import Cifar10, FashionMnist, Mnist
from fedray.data.imported import ImportedData
from fedray.data.npz import NpzArrays
from fedray.data.partition.base import PartitionConfig
from fedray.data.partition.dirichlet import Dirichlet
from fedray.data.partition.iid import Iid
from fedray.data.partition.imported import ImportedPartition
from fedray.data.partition.natural import Natural
from fedray.data.partition.quantity import Quantity
from fedray.data.partition.regime import Regime
from fedray.data.partition.shards import LabelShards
from fedray.data.secom import Secom
from fedray.data.steel_plates import SteelPlates
from fedray.data.tabular import CsvTable, ParquetTable
from fedray.data.torch_dataset import TorchDataset
from fedray.errors import ConfigError

DATA = Choices(
    "data source",
    {
        "fleet": Fleet,
        "cmapss": Cmapss,
        "ai4i": Ai4i,
        "secom": Secom,
        "steel_plates": SteelPlates,
        "cwru": Cwru,
        "hydraulic": Hydraulic,
        "mnist": Mnist,
        "fashion_mnist": FashionMnist,
        "cifar10": Cifar10,
        "csv": CsvTable,
        "parquet": ParquetTable,
        "npz": NpzArrays,
        "torch": TorchDataset,
    },
    imported=ImportedData,
)

PARTITIONS = Choices(
    "partition",
    {
        "natural": Natural,
        "iid": Iid,
        "dirichlet": Dirichlet,
        "shards": LabelShards,
        "quantity": Quantity,
        "regime": Regime,
    },
    imported=ImportedPartition,
)

AnyData = Annotated[DataConfig | GeneratedDataConfig, DATA]
"""The type of a setting that chooses a data source."""
AnyPartition = Annotated[PartitionConfig, PARTITIONS]
"""The type of a setting that chooses a partition."""


def load(data: DataConfig | GeneratedDataConfig, partition: PartitionConfig | None, seed: int) -> FederatedData:
    """A population's data.

    Args:
        data: The source.
        partition: How it is cut up; None means by natural clients, and must be None for a source that generates them.
        seed: The experiment's seed.

    Raises:
        ConfigError: The partition is missing, or makes no sense for this source.
        DataError: The data cannot be read or cut up.
    """
    source = data.resolve() if isinstance(data, ImportedData) else data
    if isinstance(source, GeneratedDataConfig):
        if partition is not None:
            raise ConfigError(
                f"data '{data.name}' generates the data of each client, so partition '{partition.name}' has nothing to "
                "cut up; remove partition"
            )
        with users_own(f"data '{data.name}'", "data.name"):
            return source.load(seed)
    with users_own(f"data '{data.name}'", "data.name"):
        table = source.table(seed)
    if partition is None and table.owners is None:
        raise ConfigError(f"data '{data.name}' has no natural clients; set partition, for example to iid or dirichlet")
    return ArrayData(table, (partition or Natural()).partition(table, seed))
