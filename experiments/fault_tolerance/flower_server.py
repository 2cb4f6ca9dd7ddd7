"""Flower's simulation of 20 clients on four actors, and how many good updates each round had; in Flower's environment.

`python -m experiments.fault_tolerance.flower_server OUT.json PID_FILE`
"""

import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from experiments.fault_tolerance import flower_client

CLIENTS, ACTORS, ROUNDS = 20, 4, 4


class Counted(FedAvg):
    """FedAvg over all clients that counts replies without an error.

    Attributes:
        good: For each round.
    """

    def __init__(self) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS)
        self.good: list[int] = []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedAvg."""
        kept = list(replies)
        self.good.append(sum(not reply.has_error() for reply in kept))
        return super().aggregate_train(server_round, kept)


def main() -> None:
    """One simulation."""
    out, pid_file = sys.argv[1:]
    strategy, app = Counted(), ServerApp()

    @app.main()
    def run(grid: Grid, context: Context) -> None:
        initial, config = ArrayRecord([np.zeros(10)]), ConfigRecord({"pid_file": pid_file})
        strategy.start(grid=grid, initial_arrays=initial, num_rounds=ROUNDS, train_config=config)

    run_simulation(
        server_app=app,
        client_app=flower_client.app,
        num_supernodes=CLIENTS,
        backend_config={"init_args": {"num_cpus": ACTORS}, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    versions = {name: version(name) for name in ("flwr", "ray")}
    Path(out).write_text(json.dumps({"good": strategy.good, "versions": versions}), encoding="utf-8")


if __name__ == "__main__":
    main()
