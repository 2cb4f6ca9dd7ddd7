"""The vectorised engine: a block of clients trains as one stacked problem, one step for all of them.

The shapes of a stack depend on the experiment alone, and no row of a stack depends on another, so a client's update has
the same bits in whatever company it is trained.

Shapes: C clients, P parameters.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedray.client.gradients import DenseGradients, Gradients, MappedGradients, dense_chain
from fedray.client.optimizers import State
from fedray.client.stack import Stack, lay_out
from fedray.client.trained import Trained
from fedray.client.training import TrainingConfig
from fedray.messages import Ints, Shard
from fedray.models.base import Layout
from fedray.models.tasks import Task


class VectorisedEngine:
    """Trains many clients at once.

    Args:
        module: The model; all of its tensors are trainable, and it draws nothing at random.
        task: Loss of the task.
        training: What each client does.
        seed: The experiment's seed.
        largest_shard: Training examples of the largest client of the population.
    """

    def __init__(self, module: nn.Module, task: Task, training: TrainingConfig, seed: int, largest_shard: int) -> None:
        self._task, self._training, self._seed = task, training, seed
        self._batch_size = training.effective_batch(largest_shard)
        self._slots = Layout(module).slots
        dense = dense_chain(module) is not None
        self._gradients: Gradients = DenseGradients(module, task) if dense else MappedGradients(module, task)

    def train(self, parameters: Tensor, shards: Sequence[Shard], round: int, clients: Ints) -> Trained:
        """Local training of some clients: a pure function of its arguments and the seed.

        Args:
            parameters: The round's parameters, float32, shape (P,); not changed.
            shards: Each client's examples.
            round: Round number, from 1.
            clients: Client ids, shape (C,).
        """
        stack = lay_out(
            self._training, self._task, shards, clients, seed=self._seed, round=round, batch_size=self._batch_size
        )
        start = [parameters[slot.start : slot.stop].view(slot.shape) for slot in self._slots]
        weights = [part.expand(len(clients), *part.shape).clone() for part in start]
        loss_C = self._steps(stack, start, weights, round)
        delta_CP = torch.empty(len(clients), len(parameters))
        for slot, part, weight in zip(self._slots, start, weights, strict=True):
            delta_CP[stack.order, slot.start : slot.stop] = (weight - part).flatten(1)
        loss_by_client = np.empty(len(clients))
        loss_by_client[stack.order] = loss_C.numpy()
        steps = np.array([self._training.num_steps(len(shard)) for shard in shards])
        return Trained(delta=delta_CP, loss=loss_by_client, steps=steps)

    def _steps(self, stack: Stack, start: list[Tensor], weights: list[Tensor], round: int) -> Tensor:
        """All steps, on `weights` in place; gives each row's mean loss, before each step, over its examples."""
        optimizer, lr = self._training.optimizer, self._training.lr(round)
        states = [optimizer.start(weight) for weight in weights]
        losses = torch.zeros(len(stack.order), dtype=torch.float64)
        seen = stack.filled.sum(dim=2).double()
        for step, active in enumerate(stack.active):
            rows = stack.rows[step, :active]
            x = stack.x.index_select(0, rows.flatten()).view(*rows.shape, *stack.x.shape[1:])
            filled = None if stack.is_full else stack.filled[step, :active]
            now = [weight[:active] for weight in weights]
            gradients, loss = self._gradients(now, x, stack.y[rows], filled)
            losses[:active] += loss.double() * seen[step, :active]
            self._adjust(gradients, now, start)
            for weight, gradient, state in zip(now, gradients, states, strict=True):
                optimizer.step(weight, gradient, _rows(state, active), lr)
        return losses / seen.sum(dim=0)

    def _adjust(self, gradients: list[Tensor], now: list[Tensor], start: list[Tensor]) -> None:
        """FedProx's pull towards the round's parameters, then clipping, as the sequential engine does."""
        if self._training.proximal:
            for gradient, weight, part in zip(gradients, now, start, strict=True):
                gradient.add_(weight - part, alpha=self._training.proximal)
        if self._training.clip_norm is not None:
            norm = _squares(torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)).sqrt()
            factor = (self._training.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))


def _squares(rows_CP: Tensor) -> Tensor:
    """Sum of squares of each row, added by halves: torch's own sums depend in their last bits on the number of rows."""
    squares = rows_CP * rows_CP
    while (width := squares.shape[1]) > 1:
        half, odd = divmod(width, 2)
        summed = squares[:, :half] + squares[:, half : 2 * half]
        if odd:
            summed[:, :1] += squares[:, -1:]
        squares = summed
    return squares[:, 0]


def _rows(state: State, active: int) -> State:
    """The optimizer's state of the clients that take part; counters without rows are shared."""
    return {name: value[:active] if value.dim() else value for name, value in state.items()}
