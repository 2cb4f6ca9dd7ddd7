"""The vectorised engine: a block of clients trains as one stacked problem, one step for all of them.

The shapes of a stack depend on the experiment alone, and no row of a stack depends on another, so a client's update has
the same bits in whatever company it is trained.

On the processor a stack has a row for each client. On a GPU the libraries choose how to sum by the whole shape, the
number of rows included, so there every stack of an experiment has the same number of rows in every step, and rows
without work are computed and not looked at.

Shapes: C clients, P parameters, R rows of a stack, S steps.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedray.client.buffers import Active, Buffer
from fedray.client.dense import DenseGradients, Descent, dense_chain
from fedray.client.device import CPU
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

_MAPPED = 32
"""Clients in a stack of mapped models, whose windows and hidden states take memory; no bit depends on it."""
_DENSE = 128
"""Rows of a stack of dense layers on a GPU."""
_NUMBERS = 2**26
"""Parameters of all rows of a stack on a GPU, at most: 256 MB, and as much again for gradients and for updates."""


def rows_of(module: nn.Module, device: torch.device) -> int | None:
    """Rows of every stack of a model, a function of it and the device alone; None: as many as there are clients."""
    if device.type == "cpu":
        return None
    most = _MAPPED if dense_chain(module) is None else _DENSE
    return max(1, min(most, _NUMBERS // Layout(module).num_parameters))


class VectorisedEngine:
    """Trains many clients at once.

    Args:
        module: The model; all of its tensors are trainable.
        task: Loss of the task.
        training: What each client does.
        seed: The experiment's seed.
        largest_shard: Training examples of the largest client of the population.
        device: Where clients train, and where updates are left.
        num_rows: R, the rows of every stack; None: as many as there are clients, except on a GPU.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        training: TrainingConfig,
        seed: int,
        largest_shard: int,
        device: torch.device = CPU,
        num_rows: int | None = None,
    ) -> None:
        self._task, self._training, self._seed, self._device = task, training, seed, device
        self._batch_size = training.effective_batch(largest_shard)
        self._slots, is_dense = Layout(module).slots, dense_chain(module) is not None
        self._gradients: Gradients = DenseGradients(module, task) if is_dense else MappedGradients(module, task)
        self._num_rows = num_rows or rows_of(module, device)
        self._at_once = self._num_rows or (None if is_dense else _MAPPED)

    def train(
        self,
        parameters: Tensor,
        data: Sequence[Shard] | Joined,
        round: int,
        clients: Ints,
        most_steps: Ints | None = None,
    ) -> Trained:
        """Local training of some clients: a pure function of its arguments and the seed.

        Args:
            parameters: The round's parameters, float32, shape (P,); not changed.
            data: Each client's examples.
            round: Round number, from 1.
            clients: Client ids, shape (C,).
            most_steps: Steps that each takes at most, shape (C,); None: all of them.
        """
        joined = data if isinstance(data, Joined) else Joined.of(data)
        at_once = self._at_once or len(clients)
        if len(clients) <= at_once:
            return self._train(parameters, joined, round, clients, most_steps)
        parts = [
            self._train(
                parameters,
                joined.part(at, at + at_once),
                round,
                clients[at : at + at_once],
                None if most_steps is None else most_steps[at : at + at_once],
            )
            for at in range(0, len(clients), at_once)
        ]
        return Trained(
            delta=torch.cat([part.delta for part in parts]),
            loss=np.concatenate([part.loss for part in parts]),
            steps=np.concatenate([part.steps for part in parts]),
        )

    def _train(self, parameters: Tensor, joined: Joined, round: int, clients: Ints, most_steps: Ints | None) -> Trained:
        stack = lay_out(
            self._training,
            joined,
            clients,
            seed=self._seed,
            round=round,
            batch_size=self._batch_size,
            num_rows=self._num_rows,
            most_steps=most_steps,
        )
        start = parameters.to(self._device)
        weights = self._buffer(stack.num_rows)
        weights.fill(start)
        loss_C = self._steps(stack, start, weights, MaskStreams(self._seed, round, stack.members(clients)), round)
        loss_by_client = np.empty(len(clients))
        loss_by_client[stack.order] = loss_C
        return Trained(delta=self._delta(stack, start, weights), loss=loss_by_client, steps=stack.steps)

    def _buffer(self, num_rows: int) -> Buffer:
        return Buffer(self._slots, self._gradients.shapes, num_rows, self._device)

    def _delta(self, stack: Stack, start: Tensor, weights: Buffer) -> Tensor:
        """What training changed, (C, P), in the order in which the clients were given."""
        num_clients = len(stack.order)
        delta_CP = torch.empty(num_clients, len(start), device=self._device)
        for slot, whole in weights.own():
            span, part = slice(slot.start, slot.stop), whole[-num_clients:]
            torch.sub(part, start[span].view(slot.shape), out=delta_CP[:, span].view(part.shape))
        if (np.diff(stack.order) < 0).any():
            delta_CP = delta_CP[torch.from_numpy(np.argsort(stack.order)).to(self._device)]
        return delta_CP

    def _steps(self, stack: Stack, start: Tensor, weights: Buffer, streams: MaskStreams, round: int) -> Array:
        """All steps, on `weights` in place; gives each client's mean loss over its examples, before each step, (C,)."""
        training, lr = self._training, self._training.lr(round)
        descent = None if stack.is_fixed else self._descent(lr)  # it would step rows that have no work
        gradients = weights if descent else self._buffer(stack.num_rows)
        origin = self._buffer(stack.num_rows) if training.proximal else None
        if origin is not None:
            origin.fill(start)
        now = Active(training.optimizer, weights, gradients, origin)
        losses_SRB = torch.zeros(stack.rows.shape, device=self._device)
        for step, batch in enumerate(stack.batches(self._task, self._device)):
            now.narrow(batch.active)
            masks = streams.masks(step, first=stack.num_rows - stack.shown(batch.active))
            if descent and isinstance(self._gradients, DenseGradients):
                losses = self._gradients.descend(now.weights, batch, masks, descent)
            else:
                read, written = (weights.parts, gradients.parts) if stack.is_fixed else (now.weights, now.gradients)
                losses = self._gradients(read, batch, masks, written)
                self._apply(now, written, lr)
            losses_SRB[step, -batch.active :] = losses[-batch.active :]
        own = slice(-len(stack.order), None)
        losses_SC = losses_SRB.sum(dim=2)[:, own].cpu().numpy().astype(np.float64)
        counts = stack.counts[:, own]
        return np.cumsum(losses_SC * counts, axis=0)[-1] / counts.sum(axis=0)  # one after another

    def _descent(self, lr: float) -> Descent | None:
        """Plain gradient descent, where that is what training is and the gradients can take it."""
        training, optimizer = self._training, self._training.optimizer
        plain = isinstance(optimizer, Sgd) and not optimizer.momentum
        if not plain or training.proximal or training.clip_norm is not None:
            return None
        return Descent(lr, optimizer.weight_decay) if isinstance(self._gradients, DenseGradients) else None

    @torch.no_grad()
    def _apply(self, now: Active, gradients: Sequence[Tensor], lr: float) -> None:
        """FedProx's pull towards the round's parameters, clipping, and the step of those who take part."""
        training = self._training
        for piece in now.pieces:
            if piece.start is not None:
                piece.gradients.add_(piece.weights - piece.start, alpha=training.proximal)
        if training.clip_norm is not None:
            factor = (training.clip_norm / (norms(gradients) + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        for piece in now.pieces:
            training.optimizer.step(piece.weights, piece.gradients, piece.state, lr)
