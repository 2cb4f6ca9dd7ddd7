"""The sequential engine: one client after another, with one module and one flat vector for all of them.

The module's tensors are views of one flat vector, and its gradients of another, so loading the round's parameters is
one copy, an optimizer step is a few operations whatever the number of layers, and nothing is allocated per client.

Shapes: P parameters, T of them trainable, N examples.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedray import seeds
from fedray.client.trained import Trained
from fedray.client.training import TrainingConfig, batches
from fedray.messages import Array, Floats, Ints, Shard
from fedray.models.base import Layout
from fedray.models.tasks import Task


class SequentialEngine:
    """Trains clients one after another.

    Args:
        module: The model; it becomes the engine's own.
        task: Loss of the task.
        training: What each client does.
        seed: The experiment's seed.
    """

    def __init__(self, module: nn.Module, task: Task, training: TrainingConfig, seed: int) -> None:
        self.module, self.task, self.training, self.seed = module, task, training, seed
        self.layout = Layout(module)
        self.weights = self.layout.flatten(module)
        self.layout.bind(module, self.weights)
        self.trainable = self.weights[: self.layout.num_trainable]
        self.grads = torch.zeros_like(self.trainable)
        for slot, parameter in zip(self.layout.slots, self._trainable_parameters(), strict=False):
            parameter.grad = self.grads[slot.start : slot.stop].view(slot.shape)
        self._counters = [(b, b.clone()) for b in module.buffers() if not b.is_floating_point()]

    def _trainable_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.module.parameters() if p.requires_grad]

    def load(self, parameters: Tensor) -> None:
        """Sets the module to `parameters`, shape (P,)."""
        self.weights.copy_(parameters)
        for buffer, value in self._counters:
            buffer.copy_(value)

    def train(self, parameters: Tensor, shards: Sequence[Shard], round: int, clients: Ints) -> Trained:
        """Local training of some clients: a pure function of its arguments and the seed.

        Args:
            parameters: The round's parameters, float32, shape (P,); not changed.
            shards: Each client's examples.
            round: Round number, from 1.
            clients: Client ids, shape (C,).
        """
        delta_CP = torch.empty(len(shards), len(parameters))
        losses, steps = np.zeros(len(shards)), np.zeros(len(shards), np.int64)
        for row, (shard, client) in enumerate(zip(shards, clients.tolist(), strict=True)):
            losses[row], steps[row] = self._train_one(parameters, shard, round, client)
            torch.sub(self.weights, parameters, out=delta_CP[row])
        return Trained(delta=delta_CP, loss=losses, steps=steps)

    def _train_one(self, parameters: Tensor, shard: Shard, round: int, client: int) -> tuple[float, int]:
        """One client's local training; leaves its weights in the module. Gives the mean loss and the steps."""
        self.load(parameters)
        self.module.train()
        torch.manual_seed(seeds.torch_seed(self.seed, "dropout", round, client))
        x, y = as_tensor(shard.x), self.task.targets(shard.y)
        state, lr = self.training.optimizer.start(self.trainable), self.training.lr(round)
        order = batches(self.training, len(shard), self.seed, round, client)
        loss_sum, num_seen = torch.zeros((), dtype=torch.float64), 0
        for rows in order:
            picked = torch.from_numpy(rows)
            loss = self._backward(x[picked], y[picked])
            self._adjust(parameters)
            self.training.optimizer.step(self.trainable, self.grads, state, lr)
            loss_sum += loss.detach().double() * len(rows)
            num_seen += len(rows)
        return float(loss_sum) / num_seen, len(order)

    def _backward(self, x: Tensor, y: Tensor) -> Tensor:
        self.grads.zero_()
        loss = self.task.loss(self.module(x), y)
        loss.backward()
        return loss

    @torch.no_grad()
    def _adjust(self, parameters: Tensor) -> None:
        """FedProx's pull towards the round's parameters, then clipping."""
        if self.training.proximal:
            self.grads.add_(self.trainable - parameters[: len(self.trainable)], alpha=self.training.proximal)
        if self.training.clip_norm is not None:
            norm = torch.linalg.vector_norm(self.grads)
            self.grads.mul_((self.training.clip_norm / (norm + 1e-6)).clamp(max=1.0))


def as_tensor(values: Floats | Array) -> Tensor:
    """A tensor over the same memory, also where that memory is read-only (Ray's object store); never write to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(values)
