"""A host of clients: trains blocks, sums their updates, evaluates. A plain class; Ray makes actors of it elsewhere."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from fedray.aggregation.ring import RunningSums, merge
from fedray.client.block import BlockTraining
from fedray.client.compressed import Memory
from fedray.client.device import repeatable
from fedray.client.evaluation import Evaluated, evaluate, evaluate_clients
from fedray.client.sequential import SequentialEngine
from fedray.client.vectorised import VectorisedEngine
from fedray.client.workload import Workload
from fedray.data.base import FederatedData
from fedray.data.holdout import Holdout
from fedray.messages import Block, BlockReport, Floats, Ints, Partial, Shard
from fedray.models.memory import keep_freed
from fedray.models.table import build
from fedray.models.tensors import as_tensor


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a host answers when it has trained.

    Attributes:
        reports: One for each block.
        partials: The round's sums, where they were handed over.
        kept: What each client keeps for its next round, in the order of the blocks, shape (C, P); None: nothing.
    """

    reports: list[BlockReport]
    partials: tuple[Partial, ...] = ()
    kept: Floats | None = None


class Host:
    """Trains and evaluates clients. Every answer is a pure function of the workload, the data and the arguments.

    Args:
        workload: The client side of the experiment.
        data: The population's data.
    """

    def __init__(self, workload: Workload, data: FederatedData) -> None:
        torch.set_num_threads(workload.num_threads)
        keep_freed()
        self._arithmetic = ExitStack()
        self.device = self._arithmetic.enter_context(repeatable(workload.device))
        self.workload, self.data = workload, data
        self.holdout = Holdout(data, workload.holdout, workload.seed)
        self.engine = self._engine(workload)
        self._trainer = self._stacked(workload) if workload.engine.name == "vectorised" else self.engine
        self._sums, self._round = self._new_sums(), 0

    def _engine(self, workload: Workload) -> SequentialEngine:
        module = build(workload.model, workload.spec, workload.seed)
        return SequentialEngine(module, workload.task, workload.training, workload.seed, self.device)

    def _stacked(self, workload: Workload) -> VectorisedEngine:
        module = build(workload.model, workload.spec, workload.seed)
        largest = workload.engine.largest_shard
        return VectorisedEngine(module, workload.task, workload.training, workload.seed, largest, self.device)

    @property
    def num_parameters(self) -> int:
        """P."""
        return self.engine.layout.num_parameters

    def close(self) -> None:
        """Puts back what torch's settings were, where the process goes on."""
        self._arithmetic.close()

    def ready(self) -> int:
        """Process id, once the host can work."""
        return os.getpid()

    def train(
        self,
        parameters: Floats,
        blocks: Sequence[Block],
        hand_over: bool = False,
        kept: Floats | None = None,
        cohort: int | None = None,
    ) -> Work:
        """Trains blocks of clients, together where the engine can, and adds their updates to the round's sums.

        Args:
            parameters: The round's parameters, shape (P,), or several vectors one after another: a block says which
                of them it starts from.
            blocks: Which clients; all of one round, or of rounds that are trained together.
            hand_over: Give the sums away with the answer, instead of keeping them for `collect`.
            kept: What each client has kept of its rounds before, in the order of the blocks, shape (C, P); not changed.
            cohort: The round by which the sums are collected, of those that are trained together; None: the blocks'.
        """
        cohort = blocks[0].round if cohort is None else cohort
        if cohort != self._round:
            self._sums, self._round = self._new_sums(), cohort
        vectors = as_tensor(parameters).to(self.device).split(self.engine.layout.num_parameters)
        kinds = [(block.start_from, block.round) for block in blocks]
        rows = np.repeat(np.arange(len(blocks)), [len(block.clients) for block in blocks])
        reports, kept = dict[int, BlockReport](), None if kept is None else kept.copy()
        for kind in dict.fromkeys(kinds):
            places = [place for place, other in enumerate(kinds) if other == kind]
            mine, start = [blocks[place] for place in places], kind[0]
            memory = None if kept is None else Memory(kept, np.flatnonzero(np.isin(rows, places)))
            training = BlockTraining(
                self.workload, self.holdout, self._trainer, vectors[start], mine, self._sums, memory
            )
            reports |= {report.block: report for report in training.run()}
        partials = self.collect(self._round) if hand_over else ()
        return Work(reports=[reports[block.index] for block in blocks], partials=partials, kept=kept)

    def _new_sums(self) -> RunningSums:
        return RunningSums(self.num_parameters)

    def collect(self, round: int) -> tuple[Partial, ...]:
        """The sums of the round's blocks trained here; what comes after starts from nothing."""
        sums = self._sums if self._round == round else self._new_sums()
        self._sums = self._new_sums()
        return sums.partials()

    def merge(self, *parts: tuple[Partial, ...]) -> tuple[Partial, ...]:
        """Adds the sums of several hosts, so that the driver need not."""
        return merge(*parts)

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
        vector = as_tensor(parameters).to(self.device)
        trained = engine.train(vector, [pooled], 1, job.clients[:1])
        engine.load(vector + trained.delta[0])
        return evaluate(engine.module, self.workload.task, self._test, self.workload.evaluation_batch)

    @cached_property
    def _test(self) -> Shard:
        """The test set, generated or fetched once for each host."""
        test = self.data.test()
        assert test is not None  # evaluation on a test set is planned only where the data has one
        return test
