"""The batches of many clients as one stack, step by step.

Shapes: C clients of the stack, S steps, B examples in a batch, N examples of all clients together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedray import seeds
from fedray.client.training import TrainingConfig
from fedray.messages import Array, Ints, Shard
from fedray.models.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Clients side by side, those with the most steps first: who takes part in a step is always a prefix.

    Attributes:
        order: Position of each row of the stack among the clients as they were given, shape (C,).
        x: Features of all clients, one shard after another, shape (N, *features).
        y: Targets of all clients, shape (N,).
        rows: Which example is where: positions in `x`, shape (S, C, B); places that are not filled hold any row.
        filled: 1 where a place holds an example, 0 elsewhere, float32, shape (S, C, B).
        active: How many clients take part in each step, shape (S,).
        is_full: Whether every place of every active client is filled.
    """

    order: Ints
    x: Tensor
    y: Tensor
    rows: Tensor
    filled: Tensor
    active: list[int]
    is_full: bool


def lay_out(
    training: TrainingConfig,
    task: Task,
    shards: Sequence[Shard],
    clients: Ints,
    *,
    seed: int,
    round: int,
    batch_size: int,
) -> Stack:
    """Stacks the batches that `training.batches` gives each client.

    Args:
        training: What each client does.
        task: Makes targets of labels.
        shards: Each client's examples.
        clients: Client ids, shape (C,).
        seed: The experiment's seed.
        round: Round number, from 1.
        batch_size: B, the same for all stacks of an experiment: the bits of a sum may depend on its length.
    """
    sizes = np.array([len(shard) for shard in shards])
    steps = np.array([training.num_steps(int(size)) for size in sizes])
    order = np.argsort(-steps, kind="stable")
    offsets = np.cumsum([0, *sizes])[:-1]
    rows = np.zeros((int(steps.max()), len(shards), batch_size), np.int64)
    filled = np.zeros(rows.shape, np.float32)
    for size in np.unique(sizes):
        places = np.flatnonzero(sizes[order] == size)
        chosen, counts = _of_equal_size(training, int(size), seed, round, clients[order[places]], batch_size)
        rows[: len(chosen), places] = chosen + offsets[order[places]][None, :, None]
        filled[: len(chosen), places] = np.arange(batch_size) < counts[:, None, None]
    active = (steps[None, :] > np.arange(steps.max())[:, None]).sum(axis=1)
    return Stack(
        order=order,
        x=torch.from_numpy(_joined([shard.x for shard in shards])),
        y=task.targets(_joined([shard.y for shard in shards])),
        rows=torch.from_numpy(rows),
        filled=torch.from_numpy(filled),
        active=active.tolist(),
        is_full=bool(filled.sum() == active.sum() * batch_size),
    )


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _of_equal_size(
    training: TrainingConfig, size: int, seed: int, round: int, clients: Ints, batch_size: int
) -> tuple[Ints, Ints]:
    """Batches of clients whose shards have the same size, as in `training.batches`.

    Returns:
        Positions in each client's shard, shape (S, C, B), and how many places of each step are filled, shape (S,).
    """
    num_steps, batch = training.num_steps(size), training.effective_batch(size)
    per_epoch = -(-size // batch)
    num_epochs = -(-num_steps // per_epoch)
    chosen = np.zeros((num_epochs * per_epoch, len(clients), batch_size), np.int64)
    for epoch in range(num_epochs):
        keys = seeds.keys(seed, f"batches of epoch {epoch}", round, clients)
        padded = np.zeros((len(clients), per_epoch * batch), np.int64)
        padded[:, :size] = seeds.permutations(keys, size)
        places = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
        chosen[places, :, :batch] = padded.reshape(len(clients), per_epoch, batch).swapaxes(0, 1)
    counts = np.full(per_epoch, batch)
    counts[-1] = size - (per_epoch - 1) * batch
    return chosen[:num_steps], np.tile(counts, num_epochs)[:num_steps]
