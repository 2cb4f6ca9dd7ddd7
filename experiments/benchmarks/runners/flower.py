"""Flower's simulation engine on Ray, set up as its documentation advises: one processor a client, no evaluation."""

import time
import warnings
from importlib.metadata import version

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from experiments.benchmarks import networks
from experiments.benchmarks.protocol import Answer, Laps, Request, serve
from experiments.benchmarks.runners import flower_client
from experiments.benchmarks.shards import Shards


class Timed(FedAvg):
    """FedAvg with a given cohort in each round, and a stopwatch.

    Args:
        request: The run.
        shards: The workload.
    """

    def __init__(self, request: Request, shards: Shards) -> None:
        super().__init__(fraction_evaluate=0.0)
        self.request, self.shards, self.laps = request, shards, Laps()
        self.nodes: list[int] = []

    def await_nodes(self, grid: Grid) -> None:
        """Waits until every client has its node, as Flower's own sampling does; part of the start."""
        while len(self.nodes) < self.shards.workload.clients:
            time.sleep(0.1)
            self.nodes = sorted(grid.get_node_ids())

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid):
        """One message for each client of the cohort; it says which client the node is."""
        self.laps.lap()
        messages = []
        for place, client in enumerate(self.shards.cohorts[server_round - 1].tolist()):
            mine = ConfigRecord(
                {
                    "shards": self.request.shards,
                    "client": client,
                    "round": server_round - 1,
                    "place": place if self.request.same_orders else -1,
                }
            )
            content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: mine})
            messages.append(Message(content=content, message_type=MessageType.TRAIN, dst_node_id=self.nodes[client]))
        return messages


def run(request: Request) -> Answer:
    """One simulation."""
    warnings.filterwarnings("ignore")
    shards = Shards(request.shards)
    module = networks.build(shards.workload)
    networks.bind(module).copy_(torch.from_numpy(shards.initial))
    initial, strategy, app = ArrayRecord(module.state_dict()), Timed(request, shards), ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy.await_nodes(grid)
        result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=request.rounds)
        strategy.laps.lap()
        request.save_parameters(np.concatenate([array.numpy().reshape(-1) for array in result.arrays.values()]))

    run_simulation(
        server_app=app,
        client_app=flower_client.app,
        num_supernodes=shards.workload.clients,
        backend_config={
            "init_args": {"num_cpus": request.workers},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )
    versions = {name: version(name) for name in ("flwr", "ray", "torch")}
    return strategy.laps.answer(request, versions)


if __name__ == "__main__":
    serve(run)
