"""A host of clients: trains blocks, sums their updates, evaluates. A plain class; Ray makes actors of it elsewhere."""

import os
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import psutil
import torch
from torch import Tensor

from fedray.aggregation.ring import RunningSum, merge
from fedray.client.evaluation import Evaluated, evaluate, evaluate_clients
from fedray.client.failure import failed
from fedray.client.sequential import SequentialEngine, as_tensor
from fedray.client.training import weight_of
from fedray.client.workload import Workload
from fedray.data.base import FederatedData
from fedray.data.holdout import Holdout
from fedray.messages import Array, Block, BlockReport, Failure, Floats, Ints, Partial, Shard
from fedray.models.table import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A fixed part of the test set: the unit of central evaluation."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """Training without a federation: of all examples in one place, or of one client by itself.

    Attributes:
        clients: Whose examples, shape (C,).
        epochs: Passes over them.
    """

    clients: Ints
    epochs: int


class Host:
    """Trains and evaluates clients. Every answer is a pure function of the workload, the data and the arguments.

    Args:
        workload: The client side of the experiment.
        data: The population's data.
    """

    def __init__(self, workload: Workload, data: FederatedData) -> None:
        torch.set_num_threads(workload.num_threads)
        self.workload, self.data = workload, data
        self.holdout = Holdout(data, workload.holdout, workload.seed)
        self.engine = self._engine(workload)
        self._sum, self._round = self._new_sum(), 0

    @staticmethod
    def _engine(workload: Workload) -> SequentialEngine:
        module = build(workload.model, workload.spec, workload.seed)
        return SequentialEngine(module, workload.task, workload.training, workload.seed)

    def ready(self) -> int:
        """Process id, once the host can work."""
        return os.getpid()

    def train(self, parameters: Floats, block: Block) -> BlockReport:
        """Trains a block of clients and adds their updates to the round's sum, which stays here.

        Args:
            parameters: The round's parameters, shape (P,).
            block: Which clients.
        """
        began = time.perf_counter()
        if block.round != self._round:
            self._sum, self._round = self._new_sum(), block.round
        start, block_sum = as_tensor(parameters), self._new_sum()
        rows: list[dict[str, float]] = []
        failures: dict[int, Failure] = {}
        for client in block.clients.tolist():
            row = self._train_client(start, block.round, client, block_sum)
            if isinstance(row, Failure):
                failures[client] = row
                row = {"examples": 0, "loss": float("nan"), "steps": 0, "seconds": 0.0}
            rows.append(row)
        self._sum.include(block_sum.partial(block.index))
        columns: dict[str, Array] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return BlockReport(
            block=block.index,
            start=block.start,
            columns=columns,
            failures=failures,
            seconds=time.perf_counter() - began,
            memory_bytes=psutil.Process().memory_info().rss,
            pid=os.getpid(),
        )

    def _new_sum(self) -> RunningSum:
        return RunningSum(self.engine.layout.num_parameters)

    def _train_client(self, start: Tensor, round: int, client: int, total: RunningSum) -> dict[str, float] | Failure:
        """Adds one client's encoded update to `total`, and gives its row of the ledger, or why there is no update."""
        began = time.perf_counter()
        try:
            shard = self.holdout.train(client)
            trained = self.engine.train(start, shard, round, client)
        except Exception as error:
            return failed(error)
        weight = weight_of(self.workload.training, len(shard))
        encoded, fits = self.workload.ring.encode(trained.delta[None], torch.tensor([weight]))
        if not bool(fits[0]):
            return Failure(fate="rejected", cause=self._why_rejected(trained.delta, weight))
        total.add(encoded[0].numpy(), weight)
        seconds = time.perf_counter() - began
        return {"examples": len(shard), "loss": trained.loss, "steps": trained.steps, "seconds": seconds}

    def _why_rejected(self, delta: Tensor, weight: int) -> str:
        if not bool(torch.isfinite(delta).all()):
            return "it holds NaN or infinite values; lower training.optimizer.lr or set training.clip_norm"
        largest, limit = float(delta.abs().max()), self.workload.ring.largest(weight)
        return (
            f"a parameter changed by {largest:.3g}, but at most {limit:.3g} fits the sum; "
            "lower training.optimizer.lr, or lower ring.fraction_bits"
        )

    def collect(self, round: int) -> Partial:
        """The sum of the round's blocks trained here; what comes after starts from nothing."""
        total = self._sum if self._round == round else self._new_sum()
        self._sum = self._new_sum()
        return total.partial()

    def merge(self, *partials: Partial) -> Partial:
        """Sums partials of several hosts, so that the driver need not."""
        return merge(*partials)

    def evaluate_test(self, parameters: Floats, chunk: Chunk) -> Evaluated:
        """Statistics of a part of the central test set."""
        test = self._test
        self.engine.load(as_tensor(parameters))
        part = Shard(x=test.x[chunk.start : chunk.stop], y=test.y[chunk.start : chunk.stop])
        return evaluate(self.engine.module, self.workload.task, part, self.workload.evaluation_batch)

    def evaluate_clients(self, parameters: Floats, clients: Ints) -> Evaluated:
        """Statistics of some clients' own examples, with a row for each."""
        self.engine.load(as_tensor(parameters))
        module, task, size = self.engine.module, self.workload.task, self.workload.evaluation_batch
        return evaluate_clients(module, task, clients, self.holdout.held, size)

    def train_alone(self, parameters: Floats, job: Alone) -> Evaluated:
        """Trains on some clients' examples put together, without a federation, and evaluates on the test set."""
        shards = [self.holdout.train(client) for client in job.clients.tolist()]
        pooled = Shard(x=np.concatenate([s.x for s in shards]), y=np.concatenate([s.y for s in shards]))
        alone = {"epochs": job.epochs, "steps": None, "lr_decay": 1.0, "proximal": 0.0}
        training = self.workload.training.model_copy(update=alone)
        engine = self._engine(replace(self.workload, training=training))
        trained = engine.train(as_tensor(parameters), pooled, 1, int(job.clients[0]))
        engine.load(as_tensor(parameters) + trained.delta)
        return evaluate(engine.module, self.workload.task, self._test, self.workload.evaluation_batch)

    @cached_property
    def _test(self) -> Shard:
        """The test set, generated or fetched once for each host."""
        test = self.data.test()
        assert test is not None  # evaluation on a test set is planned only where the data has one
        return test
