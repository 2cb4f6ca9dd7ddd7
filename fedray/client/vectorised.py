"""The vectorised engine: a block of clients trains as one stacked problem, one step for all of them.

The shapes of a stack depend on the experiment alone, and no row of a stack depends on another, so a client's update has
the same bits in whatever company it is trained.

Shapes: C clients, P parameters, S steps.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedray.client.buffers import Active, Buffer
from fedray.client.dense import DenseGradients, Descent, dense_chain
from fedray.client.dropout import MaskStreams
from fedray.client.gradients import Gradients
from fedray.client.mapped import MappedGradients
from fedray.client.norms import norms
from fedray.client.optimizers import Sgd
from fedray.client.stack import Stack, lay_out
from fedray.client.trained import Trained
from fedray.client.training import TrainingConfig
from fedray.messages import Array, Ints, Joined, Shard
from fedray.models.base import Layout
from fedray.models.tasks import Task

CPU = torch.device("cpu")
_MAPPED = 32
"""Clients in a stack of mapped models, whose windows and hidden states take memory; no bit depends on it."""


class VectorisedEngine:
    """Trains many clients at once.

    Args:
        module: The model; all of its tensors are trainable.
        task: Loss of the task.
        training: What each client does.
        seed: The experiment's seed.
        largest_shard: Training examples of the largest client of the population.
        device: Where clients train; updates come back to the processor.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        training: TrainingConfig,
        seed: int,
        largest_shard: int,
        device: torch.device = CPU,
    ) -> None:
        self._task, self._training, self._seed, self._device = task, training, seed, device
        self._batch_size = training.effective_batch(largest_shard)
        self._slots = Layout(module).slots
        dense = dense_chain(module) is not None
        self._gradients: Gradients = DenseGradients(module, task) if dense else MappedGradients(module, task)

    def train(self, parameters: Tensor, data: Sequence[Shard] | Joined, round: int, clients: Ints) -> Trained:
        """Local training of some clients: a pure function of its arguments and the seed.

        Args:
            parameters: The round's parameters, float32, shape (P,); not changed.
            data: Each client's examples.
            round: Round number, from 1.
            clients: Client ids, shape (C,).
        """
        joined = data if isinstance(data, Joined) else Joined.of(data)
        if isinstance(self._gradients, DenseGradients) or len(clients) <= _MAPPED:
            return self._train(parameters, joined, round, clients)
        parts = [
            self._train(parameters, joined.part(at, at + _MAPPED), round, clients[at : at + _MAPPED])
            for at in range(0, len(clients), _MAPPED)
        ]
        return Trained(
            delta=torch.cat([part.delta for part in parts]),
            loss=np.concatenate([part.loss for part in parts]),
            steps=np.concatenate([part.steps for part in parts]),
        )

    def _train(self, parameters: Tensor, joined: Joined, round: int, clients: Ints) -> Trained:
        stack = lay_out(self._training, joined, clients, seed=self._seed, round=round, batch_size=self._batch_size)
        start = parameters.to(self._device)
        weights = self._buffer(len(clients))
        weights.fill(start)
        loss_C = self._steps(stack, start, weights, MaskStreams(self._seed, round, clients[stack.order]), round)
        loss_by_client = np.empty(len(clients))
        loss_by_client[stack.order] = loss_C
        return Trained(delta=self._delta(stack, start, weights), loss=loss_by_client, steps=stack.steps)

    def _buffer(self, num_clients: int) -> Buffer:
        return Buffer(self._slots, self._gradients.shapes, num_clients, self._device)

    def _delta(self, stack: Stack, start: Tensor, weights: Buffer) -> Tensor:
        """What training changed, (C, P), in the order in which the clients were given."""
        delta_CP = torch.empty(len(stack.order), len(start), device=self._device)
        for slot, part in weights.own():
            span = slice(slot.start, slot.stop)
            torch.sub(part, start[span].view(slot.shape), out=delta_CP[:, span].view(part.shape))
        if (np.diff(stack.order) < 0).any():
            delta_CP = delta_CP[torch.from_numpy(np.argsort(stack.order)).to(self._device)]
        return delta_CP.cpu()

    def _steps(self, stack: Stack, start: Tensor, weights: Buffer, streams: MaskStreams, round: int) -> Array:
        """All steps, on `weights` in place; gives each row's mean loss, before each step, over its examples, (C,)."""
        training, lr = self._training, self._training.lr(round)
        descent = self._descent(lr)
        gradients = weights if descent else self._buffer(len(stack.order))
        origin = self._buffer(len(stack.order)) if training.proximal else None
        if origin is not None:
            origin.fill(start)
        now = Active(training.optimizer, weights, gradients, origin)
        losses_SC = torch.zeros(stack.counts.shape, device=self._device)
        for step, batch in enumerate(stack.batches(self._task, self._device)):
            now.narrow(batch.active)
            masks = streams.masks(step, first=len(stack.order) - batch.active)
            if descent and isinstance(self._gradients, DenseGradients):
                loss = self._gradients.descend(now.weights, batch, masks, descent)
            else:
                loss = self._gradients(now.weights, batch, masks, now.gradients)
                self._apply(now, lr)
            losses_SC[step, -batch.active :] = loss
        sums_SC = np.cumsum(losses_SC.cpu().numpy().astype(np.float64) * stack.counts, axis=0)  # one after another
        return sums_SC[-1] / stack.counts.sum(axis=0)

    def _descent(self, lr: float) -> Descent | None:
        """Plain gradient descent, where that is what training is and the gradients can take it."""
        training, optimizer = self._training, self._training.optimizer
        plain = isinstance(optimizer, Sgd) and not optimizer.momentum
        if not plain or training.proximal or training.clip_norm is not None:
            return None
        return Descent(lr, optimizer.weight_decay) if isinstance(self._gradients, DenseGradients) else None

    @torch.no_grad()
    def _apply(self, now: Active, lr: float) -> None:
        """FedProx's pull towards the round's parameters, clipping, and the optimizer's step."""
        training = self._training
        for piece in now.pieces:
            if piece.start is not None:
                piece.gradients.add_(piece.weights - piece.start, alpha=training.proximal)
        if training.clip_norm is not None:
            factor = (training.clip_norm / (norms(now.gradients) + 1e-6)).clamp(max=1.0)
            for gradient in now.gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        for piece in now.pieces:
            training.optimizer.step(piece.weights, piece.gradients, piece.state, lr)
