"""The sequential engine: one client after another, with one module and one flat vector for all of them.

The module's tensors are views of one flat vector, so loading the round's parameters is one copy, and what training
changed is one subtraction in place. Gradients are used where autograd leaves them: nothing is zeroed, copied or
gathered between the backward pass and the optimizer's step.

Shapes: P parameters, N examples.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fedray import seeds
from fedray.client.device import CPU
from fedray.client.dropout import ClientDropouts, key_dropout
from fedray.client.trained import Trained
from fedray.client.training import TrainingConfig, batches
from fedray.messages import Ints, Shard
from fedray.models.base import Layout
from fedray.models.tasks import Task
from fedray.models.tensors import as_tensor


class SequentialEngine:
    """Trains clients one after another.

    Args:
        module: The model; it becomes the engine's own.
        task: Loss of the task.
        training: What each client does.
        seed: The experiment's seed.
        device: Where clients train, and where updates are left.
    """

    def __init__(
        self, module: nn.Module, task: Task, training: TrainingConfig, seed: int, device: torch.device = CPU
    ) -> None:
        self.module, self.task, self.training, self.seed = module.to(device), task, training, seed
        self.device = device
        self._dropouts = ClientDropouts()
        key_dropout(module, self._dropouts)
        self.layout = Layout(module)
        self.weights = self.layout.flatten(module)
        self.layout.bind(module, self.weights)
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._counters = [(b, b.clone()) for b in module.buffers() if not b.is_floating_point()]

    def load(self, parameters: Tensor) -> None:
        """Sets the module to `parameters`, shape (P,)."""
        self.weights.copy_(parameters)
        for buffer, value in self._counters:
            buffer.copy_(value)

    def train(
        self,
        parameters: Tensor,
        shards: Sequence[Shard],
        round: int,
        clients: Ints,
        most_steps: Ints | None = None,
    ) -> Trained:
        """Local training of some clients: a pure function of its arguments and the seed.

        Args:
            parameters: The round's parameters, float32, shape (P,); not changed.
            shards: Each client's examples.
            round: Round number, from 1.
            clients: Client ids, shape (C,).
            most_steps: Steps that each takes at most, shape (C,); None: all of them.

        Returns:
            What training gave. The change of a single client is where the engine trains: use it before the next call.
        """
        parameters = parameters.to(self.device)
        delta_CP = self.weights[None]
        if len(shards) > 1:
            delta_CP = torch.empty(len(shards), len(parameters), device=self.device)
        losses, steps = np.zeros(len(shards)), np.zeros(len(shards), np.int64)
        for row, (shard, client) in enumerate(zip(shards, clients.tolist(), strict=True)):
            most = None if most_steps is None else int(most_steps[row])
            losses[row], steps[row] = self._train_one(parameters, shard, round, client, most)
            torch.sub(self.weights, parameters, out=delta_CP[row])
        return Trained(delta=delta_CP, loss=losses, steps=steps)

    def _train_one(
        self, parameters: Tensor, shard: Shard, round: int, client: int, most_steps: int | None
    ) -> tuple[float, int]:
        """One client's local training; leaves its weights in the module. Gives the mean loss and the steps."""
        self.load(parameters)
        self.module.train()
        torch.manual_seed(seeds.torch_seed(self.seed, "dropout", round, client))
        self._dropouts.begin(self.seed, round, client)
        x, y = as_tensor(shard.x).to(self.device), self.task.targets(shard.y).to(self.device)
        optimizer, lr = self.training.optimizer, self.training.lr(round)
        states = [optimizer.start(parameter) for parameter in self._parameters]
        order = batches(self.training, len(shard), self.seed, round, client)[:most_steps]
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        places = torch.from_numpy(np.concatenate(order)).to(self.device)
        for step, picked in enumerate(places.split([len(rows) for rows in order])):
            self._dropouts.step(step)
            loss = self.task.loss(self.module(_laid_out(x[picked])), y[picked])
            gradients = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
            with torch.no_grad():
                self._adjust(gradients, parameters)
                for parameter, gradient, state in zip(self._parameters, gradients, states, strict=True):
                    optimizer.step(parameter, gradient, state, lr)
                loss_sum += loss.double() * len(picked)
        return float(loss_sum) / len(places), len(order)

    def _adjust(self, gradients: Sequence[Tensor], parameters: Tensor) -> None:
        """FedProx's pull towards the round's parameters, then clipping."""
        if self.training.proximal:
            for slot, weight, gradient in zip(self.layout.slots, self._parameters, gradients, strict=False):
                start = parameters[slot.start : slot.stop].view(slot.shape)
                gradient.add_(weight - start, alpha=self.training.proximal)
        if self.training.clip_norm is not None:
            norm = torch.nn.utils.get_total_norm(gradients)
            factor = (self.training.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor)


def _laid_out(x: Tensor) -> Tensor:
    """A batch of images with the channels last in memory: convolutions of the CIFAR-10 CNN take a tenth less time.

    Not on a GPU: there the gradients of pooled windows would be added in any order.
    """
    on_processor = x.device.type == "cpu"
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 and on_processor else x
