"""Training blocks of clients and summing their updates.

Shapes: C clients trained together, P parameters.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedray.aggregation.ring import RunningSums
from fedray.client.compressed import Memory, Sending
from fedray.client.failure import failed
from fedray.client.faults import ClientFaults
from fedray.client.sequential import SequentialEngine
from fedray.client.trained import Trained
from fedray.client.training import weights_of
from fedray.client.vectorised import VectorisedEngine
from fedray.client.workload import Workload
from fedray.data.holdout import Holdout
from fedray.messages import Array, Block, BlockReport, Failure, Ints, Joined, Shard
from fedray.models.memory import resident_bytes

Engine = SequentialEngine | VectorisedEngine


class BlockTraining:
    """Trains the clients of one or more blocks: their part of the sum, their rows of the ledger, their failures.

    Args:
        workload: The client side of the experiment.
        holdout: The clients' training examples.
        engine: Trains the clients.
        parameters: The round's parameters, shape (P,).
        blocks: Which clients; all of one round.
        sums: Where their updates are added.
        memory: What they keep between rounds; None: nothing.
    """

    def __init__(
        self,
        workload: Workload,
        holdout: Holdout,
        engine: Engine,
        parameters: Tensor,
        blocks: Sequence[Block],
        sums: RunningSums,
        memory: Memory | None = None,
    ) -> None:
        self._workload, self._holdout, self._engine = workload, holdout, engine
        self._parameters, self._blocks, self._sums = parameters, blocks, sums
        self._clients = np.concatenate([block.clients for block in blocks])
        lengths = [len(block.clients) for block in blocks]
        self._scales = np.repeat([block.scale for block in blocks], lengths)
        self._into = np.repeat([block.into for block in blocks], lengths)
        self._most_steps = _most_steps(blocks)
        self._failures: dict[int, Failure] = {}
        self._faults = ClientFaults(blocks, workload.seed)
        self._sending = Sending(workload.compression, workload.seed, blocks[0].round, memory)
        num_clients = len(self._clients)
        self._columns: dict[str, Array] = {
            "client": self._clients,
            "examples": np.zeros(num_clients, np.int64),
            "loss": np.full(num_clients, np.nan),
            "steps": np.zeros(num_clients, np.int64),
            "seconds": np.zeros(num_clients),
        }

    def run(self) -> list[BlockReport]:
        """Trains all clients and names the blocks in the sums; gives a report for each block."""
        if isinstance(self._engine, VectorisedEngine):
            self._train(np.arange(len(self._clients)))
        else:
            self._one_after_another()
        for block in self._blocks:
            self._sums.into(block.into).name(block.index)
        ends = np.cumsum([len(block.clients) for block in self._blocks]).tolist()
        memory_bytes = resident_bytes()
        return [self._report(block, end, memory_bytes) for block, end in zip(self._blocks, ends, strict=True)]

    def _one_after_another(self) -> None:
        """Loads a client's examples while the one before trains."""
        if len(self._clients) == 1:
            return self._train(np.arange(1))
        with ThreadPoolExecutor(1, "fedray-loader") as loader:
            coming = loader.submit(self._load, self._clients[:1])
            for place in range(len(self._clients)):
                loaded, following = coming, self._clients[place + 1 : place + 2]
                coming = loader.submit(self._load, following)
                self._train(np.array([place]), loaded.result)
        return None

    def _load(self, clients: Ints) -> Sequence[Shard] | Joined:
        if isinstance(self._engine, VectorisedEngine):
            return self._holdout.train_joined(clients)
        return self._holdout.train_shards(clients) if len(clients) else []

    def _train(self, places: Ints, loaded: Callable[[], Sequence[Shard] | Joined] | None = None) -> None:
        """Trains the clients at some places; when that raises, each by itself, to find out whose fault.

        Args:
            places: Positions among the clients.
            loaded: Gives their examples, where they are being loaded already.
        """
        began, clients = time.perf_counter(), self._clients[places]
        try:
            examples: Any = self._load(clients) if loaded is None else loaded()
            if self._faults:
                self._faults.check(clients)
            most_steps = None if self._most_steps is None else self._most_steps[places]
            trained = self._engine.train(self._parameters, examples, self._blocks[0].round, clients, most_steps)
        except Exception as error:
            if len(places) == 1:
                self._failures[int(clients[0])] = failed(error)
            else:
                for place in places:
                    self._train(np.array([place]))
            return
        self._add(places, trained)
        self._columns["seconds"][places] = (time.perf_counter() - began) / len(places)

    def _add(self, places: Ints, trained: Trained) -> None:
        trained = replace(trained, delta=self._sending.decoded(places, self._clients[places], trained.delta))
        if (self._scales != 1).any():
            scale = torch.from_numpy(self._scales[places].astype(np.float32)).to(trained.delta.device)
            trained = replace(trained, delta=trained.delta * scale[:, None])
        if self._faults:
            places, trained = self._damaged(places, trained)
        sizes = self._holdout.sizes[self._clients[places]]
        weights = weights_of(self._workload.training, sizes)
        usable = self._add_to_sums(places, trained.delta, weights)
        for row in np.flatnonzero(~usable):
            client = int(self._clients[places[row]])
            self._failures[client] = Failure(fate="rejected", cause=self._why(trained.delta[row], int(weights[row])))
        kept = places[usable]
        self._sending.keep(kept)
        self._columns["examples"][kept] = sizes[usable]
        self._columns["loss"][kept] = trained.loss[usable]
        self._columns["steps"][kept] = trained.steps[usable]

    def _add_to_sums(self, places: Ints, delta_CP: Tensor, weights: Ints) -> NDArray[np.bool_]:
        """Adds updates to the sums that they go into; gives which of them fit."""
        ring, into = self._workload.ring, self._into[places]
        if not len(into) or (into == into[0]).all():
            return self._sums.into(int(into[0]) if len(into) else 0).add(ring, delta_CP, weights)
        usable = np.zeros(len(places), bool)
        for place in np.unique(into).tolist():
            rows = np.flatnonzero(into == place)
            usable[rows] = self._sums.into(place).add(ring, delta_CP[rows], weights[rows])
        return usable

    def _damaged(self, places: Ints, trained: Trained) -> tuple[Ints, Trained]:
        """What the fault plan makes of updates; those that are not as long as the model are refused here."""
        resized = self._faults.damage(self._clients[places], trained.delta)
        for row, delta in resized.items():
            cause = f"it holds {len(delta)} parameters, but the model has {len(self._parameters)}"
            self._failures[int(self._clients[places[row]])] = Failure(fate="rejected", cause=cause)
        rows = np.setdiff1d(np.arange(len(places)), list(resized))
        return places[rows], Trained(delta=trained.delta[rows], loss=trained.loss[rows], steps=trained.steps[rows])

    def _report(self, block: Block, end: int, memory_bytes: int) -> BlockReport:
        span = slice(end - len(block.clients), end)
        columns = {name: values[span] for name, values in self._columns.items()}
        return BlockReport(
            block=block.index,
            start=block.start,
            columns=columns,
            failures={c: self._failures[c] for c in block.clients.tolist() if c in self._failures},
            seconds=float(columns["seconds"].sum()),
            memory_bytes=memory_bytes,
            pid=os.getpid(),
        )

    def _why(self, delta_P: Tensor, weight: int) -> str:
        if not bool(torch.isfinite(delta_P).all()):
            return "it holds NaN or infinite values; lower training.optimizer.lr or set training.clip_norm"
        largest, limit = float(delta_P.abs().max()), self._workload.ring.largest(weight)
        return (
            f"a parameter changed by {largest:.3g}, but at most {limit:.3g} fits the sum; "
            "lower training.optimizer.lr, or lower ring.fraction_bits"
        )


def _most_steps(blocks: Sequence[Block]) -> Ints | None:
    """The steps that each client takes at most; None where nobody has a limit."""
    if all(block.most_steps is None for block in blocks):
        return None
    endless = np.iinfo(np.int64).max
    return np.concatenate([np.full(len(b.clients), endless) if b.most_steps is None else b.most_steps for b in blocks])
