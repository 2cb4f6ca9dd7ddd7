"""What a competent user writes without any framework: a loop over clients, in one process or in several.

Shapes: P parameters, W processes.
"""

import multiprocessing
from multiprocessing.synchronize import Barrier

import torch
from torch import Tensor

from experiments.benchmarks import networks
from experiments.benchmarks.protocol import Answer, Laps, Request, serve
from experiments.benchmarks.shards import Shards


def run(request: Request) -> Answer:
    """Forks all processes but one, which is this one; parameters and partial sums are in shared memory."""
    torch.set_num_threads(1)
    shards, count = Shards(request.shards), request.processes
    parameters = torch.from_numpy(shards.initial.copy()).share_memory_()
    sums = torch.zeros(count, len(parameters)).share_memory_()
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(count)
    others = [
        context.Process(target=_work, args=(request, shards, parameters, sums, gate, rank), daemon=True)
        for rank in range(1, count)
    ]
    for process in others:
        process.start()
    laps = _work(request, shards, parameters, sums, gate, 0)
    for process in others:
        process.join()
    request.save_parameters(parameters.numpy())
    return laps.answer(request, {"torch": torch.__version__})


def _work(request: Request, shards: Shards, parameters: Tensor, sums: Tensor, gate: Barrier, rank: int) -> Laps:
    trainer, laps, count = Trainer(shards, request.same_orders), Laps(), request.processes
    gate.wait()
    laps.lap()
    for round in range(request.rounds):
        trainer.train(parameters, sums[rank], round, range(rank, shards.workload.cohort, count))
        gate.wait()
        if rank == 0:
            torch.sum(sums, dim=0, out=parameters).div_(shards.workload.cohort * shards.workload.rows)
        gate.wait()
        laps.lap()
    return laps


class Trainer:
    """Trains clients one after another on one module.

    Args:
        shards: The workload.
        same_orders: Take the order of rows from the files.
    """

    def __init__(self, shards: Shards, same_orders: bool) -> None:
        self.shards, self.same_orders = shards, same_orders
        self.x, self.y = torch.from_numpy(shards.x), torch.from_numpy(shards.y)
        self.module = networks.build(shards.workload)
        self.weights = networks.bind(self.module)
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=shards.workload.lr)

    def train(self, parameters: Tensor, total: Tensor, round: int, places: range) -> None:
        """Sums the weighted parameters of some clients of a round's cohort into `total`, shape (P,)."""
        total.zero_()
        for place in places:
            client = int(self.shards.cohorts[round, place])
            self.weights.copy_(parameters)
            networks.epoch(
                self.module,
                self.optimizer,
                self.x[client],
                self.y[client],
                self._order(round, place),
                self.shards.workload.batch,
            )
            total.add_(self.weights, alpha=self.shards.workload.rows)

    def _order(self, round: int, place: int) -> Tensor:
        if self.same_orders:
            return torch.from_numpy(self.shards.orders[round, place])
        return torch.randperm(self.shards.workload.rows)


if __name__ == "__main__":
    serve(run)
