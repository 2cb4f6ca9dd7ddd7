"""Training a block of clients and summing their updates.

Shapes: C clients trained together, P parameters.
"""

import time

import numpy as np
import torch
from torch import Tensor

from fedray.aggregation.ring import RunningSum
from fedray.client.failure import failed
from fedray.client.sequential import SequentialEngine
from fedray.client.trained import Trained
from fedray.client.training import weight_of
from fedray.client.vectorised import VectorisedEngine
from fedray.client.workload import Workload
from fedray.data.holdout import Holdout
from fedray.messages import Array, Block, Failure, Ints

Engine = SequentialEngine | VectorisedEngine


class BlockTraining:
    """One block: its part of the sum, its rows of the ledger, its failures.

    Args:
        workload: The client side of the experiment.
        holdout: The clients' training examples.
        engine: Trains the clients.
        parameters: The round's parameters, shape (P,).
        block: Which clients.
        total: Where their updates are added.
    """

    def __init__(
        self,
        workload: Workload,
        holdout: Holdout,
        engine: Engine,
        parameters: Tensor,
        block: Block,
        total: RunningSum,
    ) -> None:
        self._workload, self._holdout, self._engine = workload, holdout, engine
        self._parameters, self._block, self._sum = parameters, block, total
        num_clients = len(block.clients)
        self.failures: dict[int, Failure] = {}
        self.columns: dict[str, Array] = {
            "examples": np.zeros(num_clients, np.int64),
            "loss": np.full(num_clients, np.nan),
            "steps": np.zeros(num_clients, np.int64),
            "seconds": np.zeros(num_clients),
        }

    def run(self) -> None:
        """Trains all clients of the block and names it in the sum."""
        together = len(self._block.clients) if isinstance(self._engine, VectorisedEngine) else 1
        for start in range(0, len(self._block.clients), together):
            self._train(np.arange(start, min(start + together, len(self._block.clients))))
        self._sum.name(self._block.index)

    def _train(self, places: Ints) -> None:
        """Trains the clients at some places of the block; when that raises, each by itself, to find out whose fault."""
        began, clients = time.perf_counter(), self._block.clients[places]
        try:
            trained = self._trained(clients)
        except Exception as error:
            if len(places) == 1:
                self.failures[int(clients[0])] = failed(error)
            else:
                for place in places:
                    self._train(np.array([place]))
            return
        self._add(places, trained)
        self.columns["seconds"][places] = (time.perf_counter() - began) / len(places)

    def _trained(self, clients: Ints) -> Trained:
        if isinstance(self._engine, VectorisedEngine):
            joined = self._holdout.train_joined(clients)
            return self._engine.train(self._parameters, joined, self._block.round, clients)
        return self._engine.train(self._parameters, self._holdout.train_shards(clients), self._block.round, clients)

    def _add(self, places: Ints, trained: Trained) -> None:
        sizes = self._holdout.sizes[self._block.clients[places]]
        weights = np.array([weight_of(self._workload.training, int(size)) for size in sizes])
        usable = self._sum.add(self._workload.ring, trained.delta, weights)
        for row in np.flatnonzero(~usable):
            client = int(self._block.clients[places[row]])
            self.failures[client] = Failure(fate="rejected", cause=self._why(trained.delta[row], int(weights[row])))
        kept = places[usable]
        self.columns["examples"][kept] = sizes[usable]
        self.columns["loss"][kept] = trained.loss[usable]
        self.columns["steps"][kept] = trained.steps[usable]

    def _why(self, delta_P: Tensor, weight: int) -> str:
        if not bool(torch.isfinite(delta_P).all()):
            return "it holds NaN or infinite values; lower training.optimizer.lr or set training.clip_norm"
        largest, limit = float(delta_P.abs().max()), self._workload.ring.largest(weight)
        return (
            f"a parameter changed by {largest:.3g}, but at most {limit:.3g} fits the sum; "
            "lower training.optimizer.lr, or lower ring.fraction_bits"
        )
