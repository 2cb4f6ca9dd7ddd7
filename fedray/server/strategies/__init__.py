"""Strategies: one paper, one file, one line in the table."""

from typing import Annotated

from fedray.config import Choices
from fedray.server.strategies.fedadagrad import FedAdagrad
from fedray.server.strategies.fedadam import FedAdam
from fedray.server.strategies.fedavg import FedAvg
from fedray.server.strategies.fedavgm import FedAvgM
from fedray.server.strategies.fedprox import FedProx
from fedray.server.strategies.fedyogi import FedYogi
from fedray.server.strategy import ImportedStrategy, Strategy

STRATEGIES = Choices(
    "strategy",
    {
        "fedavg": FedAvg,
        "fedavgm": FedAvgM,
        "fedprox": FedProx,
        "fedadagrad": FedAdagrad,
        "fedadam": FedAdam,
        "fedyogi": FedYogi,
    },
    imported=ImportedStrategy,
)
AnyStrategy = Annotated[Strategy, STRATEGIES]
