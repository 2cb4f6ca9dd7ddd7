"""The batches of many clients as one stack, step by step.

Shapes: C clients, R rows of the stack, A of them active in a step, S steps, B examples in a batch, K steps gathered at
once, N examples of all clients together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedray import seeds
from fedray.client.training import TrainingConfig
from fedray.messages import Array, Ints, Joined
from fedray.models.tasks import Task

_GATHERED_BYTES = 4 * 2**20
"""Examples gathered at once: many small steps in one call, but not more than stays in the processor's caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step of the active clients: the last ones of the stack.

    In a stack of fixed size all R rows are there instead of A, and count nothing where nobody takes part.

    Attributes:
        active: How many clients take part, A.
        x: Features, (A, B, *features); nobody else's memory.
        y: Targets, (A, B).
        share: What an example's loss counts in the mean of its client, 0 where a place is not filled, (A, B); or a
            number where that is the same everywhere.
    """

    active: int
    x: Tensor
    y: Tensor
    share: Tensor | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Clients side by side, those with the fewest steps first: who takes part in a step are always the last ones.

    Attributes:
        order: Position of each of the last C rows among the clients as they were given, shape (C,).
        data: The clients' examples.
        rows: Which example is where: positions in `data`, shape (S, R, B); places that are not filled hold any of the
            client's own, and rows without a client any of all.
        counts: Filled places, always the first ones of a batch, shape (S, R).
        steps: Steps of each client in the order given, shape (C,).
        is_fixed: Whether every step has all R rows, for the bits of sums may depend on how many there are.
    """

    order: Ints
    data: Joined
    rows: Ints
    counts: Ints
    steps: Ints
    is_fixed: bool = False

    @property
    def num_rows(self) -> int:
        """R."""
        return self.rows.shape[1]

    def shown(self, active: int) -> int:
        """Rows of a step in which so many clients take part: always the last ones."""
        return self.num_rows if self.is_fixed else active

    def members(self, clients: Ints) -> Ints:
        """The client of each row, shape (R,), given the ids, shape (C,); any of them where a row has none."""
        idle = self.num_rows - len(self.order)
        return np.concatenate([np.repeat(clients[self.order[:1]], idle), clients[self.order]])

    def active(self) -> list[int]:
        """How many clients take part in each step."""
        return (self.counts > 0).sum(axis=1).tolist()

    def batches(self, task: Task, device: torch.device) -> Iterator[Batch]:
        """All steps, in order.

        Args:
            task: Makes targets of labels, and weighs them.
            device: Where the tensors shall be.
        """
        active, at_once = self.active(), self._at_once()
        for start in range(0, len(self.rows), at_once):
            part, num = slice(start, start + at_once), self.shown(active[start])
            rows = self.rows[part, -num:]
            x = taken(self.data.x, rows, device)
            y = task.targets(np.take(self.data.y, rows))
            share = shares(task, y, self.counts[part, -num:])
            shared = share.to(device).unbind() if isinstance(share, Tensor) else [share] * len(rows)
            steps = zip(active[part], x.unbind(), y.to(device).unbind(), shared, strict=True)
            for taking_part, x_RB, y_RB, share_RB in steps:
                num = self.shown(taking_part)
                share_AB = _last(share_RB, num) if isinstance(share_RB, Tensor) else share_RB
                yield Batch(active=taking_part, x=_last(x_RB, num), y=_last(y_RB, num), share=share_AB)

    def _at_once(self) -> int:
        """Steps gathered at once, K."""
        example = self.data.x[:1].nbytes
        return max(1, _GATHERED_BYTES // (self.rows[0].size * example))


def _last(values: Tensor, num: int) -> Tensor:
    return values if len(values) == num else values[-num:]


def taken(values: Array, rows: Ints, device: torch.device) -> Tensor:
    """Some rows of an array on a device; copied to a GPU from locked memory, while the processor goes on."""
    if device.type != "cuda":
        return torch.from_numpy(np.take(values, rows, axis=0)).to(device)
    kind = torch.from_numpy(values[:0]).dtype
    locked = torch.empty(*rows.shape, *values.shape[1:], dtype=kind, pin_memory=True)
    np.take(values, rows, axis=0, out=locked.numpy(), mode="clip")  # other modes copy once more
    return locked.to(device, non_blocking=True)


def shares(task: Task, y: Tensor, counts: Ints) -> Tensor | float:
    """What each example's loss counts in the mean of its client.

    Args:
        task: Weighs the examples.
        y: Targets, (K, C, B).
        counts: Filled places, (K, C).

    Returns:
        Shares, (K, C, B), or one number for all.
    """
    weights = task.weights(torch.ones(y.numel(), 1), y.flatten()).view(y.shape)
    batch_size = y.shape[2]
    if int(counts.min()) == batch_size and bool((weights == 1).all()):
        return 1 / batch_size
    present = weights.new_tensor(np.arange(batch_size) < counts[:, :, None])
    return present / (weights * present).sum(dim=2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def lay_out(
    training: TrainingConfig,
    data: Joined,
    clients: Ints,
    *,
    seed: int,
    round: int,
    batch_size: int,
    num_rows: int | None = None,
    most_steps: Ints | None = None,
) -> Stack:
    """Stacks the batches that `training.batches` gives each client.

    Args:
        training: What each client does.
        data: The clients' examples.
        clients: Client ids, shape (C,).
        seed: The experiment's seed.
        round: Round number, from 1.
        batch_size: B, the same for all stacks of an experiment: the bits of a sum may depend on its length.
        num_rows: R, at least C, the same in every step and for all stacks of an experiment; None: a row for each client
            that takes part in a step.
        most_steps: Steps that each client takes at most, shape (C,); None: all of them.
    """
    unique, kind = np.unique(data.sizes, return_inverse=True)
    steps = np.array([training.num_steps(int(size)) for size in unique])[kind]
    if most_steps is not None:
        steps = np.minimum(steps, most_steps)
    order = np.argsort(steps, kind="stable")
    offsets = np.cumsum(data.sizes) - data.sizes
    rows = np.zeros((int(steps.max()), num_rows or len(clients), batch_size), np.int64)
    counts = np.zeros(rows.shape[:2], np.int64)
    own, filled_of = rows[:, -len(clients) :], counts[:, -len(clients) :]
    for index, size in enumerate(unique.tolist()):
        places = np.flatnonzero(kind[order] == index)
        chosen, filled = _of_equal_size(training, size, seed, round, clients[order[places]], batch_size)
        at = slice(None) if len(places) == len(clients) else places  # a slice is not copied
        num = min(len(chosen), len(rows))
        own[:num, at] = chosen[:num]
        filled_of[:num, at] = filled[:num, None]
    if most_steps is not None:
        filled_of[np.arange(len(rows))[:, None] >= steps[order]] = 0
    own += offsets[order][None, :, None]
    found = np.take(data.rows, rows)
    return Stack(order=order, data=data, rows=found, counts=counts, steps=steps, is_fixed=num_rows is not None)


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
