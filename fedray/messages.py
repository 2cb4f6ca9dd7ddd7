"""What is handed from one stage to the next: frozen, keyword-only, arrays inside.

Shapes: C clients of a block, N examples of a shard, P parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Stats = dict[str, Array]
"""Statistics that add: name to an array of counts or sums. The statistics of a union are the sum of the statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """What a model must know of the data.

    Attributes:
        features: Shape of one example, without the batch: (32,), (channels, time), (channels, height, width).
        task: Class labels or real targets.
        num_outputs: Number of classes; 1 for regression.
        target_scale: Regression: models predict in units of the target, and are built to give outputs of about this
            size; the loss is taken on errors divided by it.
        feature_names: Names of the features where the source knows them.
        class_names: Names of the classes where the source knows them.
    """

    features: tuple[int, ...]
    task: Literal["classification", "regression"]
    num_outputs: int
    target_scale: float = 1.0
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The examples of one client, or of a test set.

    Attributes:
        x: Features, float32, shape (N, *features).
        y: Labels int64 of shape (N,), or targets float32 of shape (N,).
    """

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The examples of several clients in shared arrays, for training them together.

    Attributes:
        x: Features that hold all of the examples, perhaps among others, float32, shape (M, *features).
        y: Their labels or targets, shape (M,).
        rows: Where in `x` and `y` the examples are, one client after another, shape (N,).
        sizes: Examples of each client, shape (C,).
    """

    x: Array
    y: Array
    rows: Ints
    sizes: Ints

    @staticmethod
    def of(shards: Sequence[Shard]) -> "Joined":
        """The examples of some shards."""
        x, y = (np.concatenate(parts) for parts in zip(*((shard.x, shard.y) for shard in shards), strict=True))
        return Joined(x=x, y=y, rows=np.arange(len(y)), sizes=np.array([len(shard) for shard in shards]))

    def part(self, start: int, stop: int) -> "Joined":
        """The examples of the clients at some positions."""
        ends = np.concatenate([[0], np.cumsum(self.sizes)])
        rows = self.rows[ends[start] : ends[min(stop, len(self.sizes))]]
        return Joined(x=self.x, y=self.y, rows=rows, sizes=self.sizes[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong on purpose, in one round.

    Attributes:
        id: Row of the fault plan.
        round: Round number, from 1.
        kind: What goes wrong: "kill", "corrupt" and so on.
        client: The client it is bound to, or -1.
        block: Index of the block it is bound to, or -1: as the round was cut up, however blocks are divided later.
        at: When, in the training of a block; for faults of a round: in its training, aggregation or checkpoint.
        how: A kind of the kind: "nan", "bit_flip".
        seconds: How long it lasts.
        amount: A factor, a number of bytes, a bit: as the kind says.
        repeat: It happens at every attempt; otherwise a fault of a process happens once.
    """

    id: int
    round: int
    kind: str
    client: int
    block: int
    at: Literal["before", "during", "after"]
    how: str = ""
    seconds: float = 0
    amount: float = 0
    repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fixed slice of the cohort: the unit of scheduling and of retry.

    Attributes:
        round: Round number, from 1.
        index: Position among the round's blocks.
        start: Position of its first client in the cohort.
        clients: Client ids, shape (C,), in canonical order.
        work: Estimated work in example-passes; the longest block is trained first.
        faults: What goes wrong on purpose while it is trained.
        start_from: Which of the parameter vectors that were given its clients start from.
        scale: What their updates are multiplied by.
        into: Which of the round's sums their updates are added to.
        most_steps: Steps that each client takes at most, shape (C,); None: all of them.
    """

    round: int
    index: int
    start: int
    clients: Ints
    work: float
    faults: tuple[Fault, ...] = ()
    start_from: int = 0
    scale: float = 1.0
    into: int = 0
    most_steps: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """A sum of encoded updates, mergeable with any other.

    Attributes:
        total: Sum of weighted deltas in the ring, int64, shape (P,).
        weight: Sum of the weights, in examples (or clients, when each counts one).
        num_updates: How many updates are in it.
        blocks: The indices of the blocks in it: no block is ever counted twice.
        into: Which of the round's sums it is a part of.
    """

    total: Ints
    weight: int
    num_updates: int
    blocks: tuple[int, ...]
    into: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """What a client actor answers when it has trained a block; the updates themselves stay in its partial.

    Attributes:
        block: The block's index.
        start: Position of its first client in the cohort.
        columns: One row a client, shape (C,): client id, examples, loss, seconds and so on.
        failures: Clients without a usable update: client id to (cause, details).
        seconds: Wall time of the block on its host.
        memory_bytes: Resident memory of the host's process after the block.
        pid: The host's process id, for the ledger.
        actor: Position of the actor that trained it, or -1; the backend says it.
        node: The node it was trained on, or ""; the backend says it.
        time: Epoch seconds when the backend had it, or 0 for when the ledger closes.
    """

    block: int
    start: int
    columns: dict[str, Array]
    failures: dict[int, "Failure"] = field(default_factory=dict[int, "Failure"])
    seconds: float = 0.0
    memory_bytes: int = 0
    pid: int = 0
    actor: int = -1
    node: str = ""
    time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a client has no usable update.

    Attributes:
        fate: "failed" when its training raised, "rejected" when its update was refused, "dropped" when the process that
            trained it was lost and the round goes on without it, "quarantined" when it is not trained any more; in
            virtual time "late" when the round was over before its update was there, "vanished" when the device or its
            update was lost, "abandoned" when too few others reported.
        cause: One line.
        details: Traceback, or "".
        time: Epoch seconds when that was decided, or 0 for when the ledger closes.
    """

    fate: Literal["failed", "rejected", "dropped", "quarantined", "late", "vanished", "abandoned"]
    cause: str
    details: str = ""
    time: float = 0.0
