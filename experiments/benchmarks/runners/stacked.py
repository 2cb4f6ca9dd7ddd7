"""The floor: the whole cohort as stacked tensors with the backward pass by hand, all data in memory, no framework.

Only for dense models. What no simulator can avoid is done and nothing else: draw each client's order, gather its
batches, step every client's own weights, average.

Shapes: C clients of a process, E rows of a client, B rows of a batch, F features, P parameters, W processes.
"""

import multiprocessing
from itertools import pairwise
from multiprocessing.synchronize import Barrier

import torch
from torch import Tensor

from experiments.benchmarks.protocol import Answer, Laps, Request, serve
from experiments.benchmarks.shards import Shards
from experiments.benchmarks.workloads import Workload


def run(request: Request) -> Answer:
    """One process with all threads, or several processes with one thread each."""
    count = request.processes
    torch.set_num_threads(max(1, request.workers // count))
    shards = Shards(request.shards)
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
    stack, laps, count = Stack(shards, request.same_orders), Laps(), request.processes
    gate.wait()
    laps.lap()
    for round in range(request.rounds):
        sums[rank] = stack.train(parameters, round, slice(rank, None, count))
        gate.wait()
        if rank == 0:
            torch.sum(sums, dim=0, out=parameters).div_(shards.workload.cohort)
        gate.wait()
        laps.lap()
    return laps


class Stack:
    """Trains many clients as one stacked problem.

    Args:
        shards: The workload; read into memory here.
        same_orders: Take the order of rows from the files.
    """

    def __init__(self, shards: Shards, same_orders: bool) -> None:
        self.shards, self.same_orders = shards, same_orders
        self.x = torch.tensor(shards.x).reshape(-1, shards.workload.num_features)
        self.y = torch.tensor(shards.y).reshape(-1)

    @torch.no_grad()
    def train(self, parameters: Tensor, round: int, places: slice) -> Tensor:
        """The sum of the trained parameters of some clients of a round's cohort, shape (P,).

        All clients have the same number of rows, so the weighted mean is the plain one.
        """
        workload = self.shards.workload
        clients = torch.from_numpy(self.shards.cohorts[round, places])
        rows = clients[:, None] * workload.rows + self._orders(round, places, len(clients))
        weights = [part.expand(len(clients), *part.shape).clone() for part in split(parameters, workload)]
        for start in range(0, workload.rows, workload.batch):
            chosen = rows[:, start : start + workload.batch]
            x = self.x.index_select(0, chosen.reshape(-1)).view(*chosen.shape, -1)
            step(weights, x, self.y[chosen], workload.lr)
        return torch.cat([weight.sum(dim=0).reshape(-1) for weight in weights])

    def _orders(self, round: int, places: slice, count: int) -> Tensor:
        if self.same_orders:
            return torch.from_numpy(self.shards.orders[round, places])
        return torch.rand(count, self.shards.workload.rows).argsort(dim=1)


def split(parameters: Tensor, workload: Workload) -> list[Tensor]:
    """Weight (out, in) and bias (1, out) of each layer, as views of the flat vector."""
    widths, parts, start = [workload.num_features, *workload.hidden, workload.classes], list[Tensor](), 0
    for width, following in pairwise(widths):
        parts.append(parameters[start : start + width * following].view(following, width))
        start += width * following
        parts.append(parameters[start : start + following].view(1, following))
        start += following
    return parts


def step(weights: list[Tensor], x: Tensor, y: Tensor, lr: float) -> None:
    """One step of SGD for every client, in place.

    Args:
        weights: Weight (C, out, in) and bias (C, 1, out) of each layer.
        x: Features, (C, B, F).
        y: Labels, (C, B).
        lr: Learning rate.
    """
    layers, seen = list(zip(weights[::2], weights[1::2], strict=True)), [x]
    for weight, bias in layers[:-1]:
        seen.append(torch.baddbmm(bias, seen[-1], weight.transpose(1, 2)).relu_())
    weight, bias = layers[-1]
    flow = torch.baddbmm(bias, seen[-1], weight.transpose(1, 2)).softmax(dim=2)
    flow.scatter_add_(2, y[..., None], torch.full((), -1.0).expand(*y.shape, 1)).div_(y.shape[1])
    for (weight, bias), inputs in zip(layers[::-1], seen[::-1], strict=True):
        before = torch.bmm(flow, weight).mul_(inputs > 0) if inputs is not x else None
        weight.baddbmm_(flow.transpose(1, 2), inputs, alpha=-lr)
        bias.sub_(flow.sum(dim=1, keepdim=True), alpha=lr)
        if before is not None:
            flow = before


if __name__ == "__main__":
    serve(run)
