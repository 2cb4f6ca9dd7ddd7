"""Trying a model, before anything starts: a reason why it cannot train, or not as a stack, is found here."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fedray.client.dense import dense_chain
from fedray.client.device import CPU, generators
from fedray.client.mapped import ListedDropouts, mappable
from fedray.client.sequential import SequentialEngine
from fedray.client.training import TrainingConfig
from fedray.client.vectorised import VectorisedEngine
from fedray.messages import DataSpec, Shard
from fedray.models.base import Layout
from fedray.models.tasks import Task, make_task

_CLIENTS, _EXAMPLES = 5, 32
"""Clients of a trial, and the most examples that each has."""


def failed_step(
    module: nn.Module, training: TrainingConfig, task: Task, shard: Shard, device: torch.device
) -> str | None:
    """Trains a client on a device: not every operation has a form there that gives the same bits each time.

    Args:
        module: The model; neither it nor torch's generators are changed.
        training: What each client does.
        task: Loss of the task.
        shard: Some real examples.
        device: Where.

    Returns:
        Why the model cannot train there, or None.
    """
    with torch.random.fork_rng(devices=generators(device)):
        try:
            engine = SequentialEngine(copy.deepcopy(module), task, training, 0, device)
            engine.train(engine.weights.clone(), [shard], 1, np.zeros(1, np.int64))
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def failed_trial(
    module: nn.Module, training: TrainingConfig, spec: DataSpec, largest_shard: int, device: torch.device = CPU
) -> str | None:
    """Trains a few clients with invented examples for a step, together and apart; on a GPU some of them for two steps.

    Args:
        module: The model; neither it nor torch's generator is changed.
        training: What each client does.
        spec: What the data is.
        largest_shard: Training examples of the largest client.
        device: Where clients train.

    Returns:
        Why clients with this model cannot train as one stack, or None.
    """
    size = min(training.effective_batch(largest_shard), _EXAMPLES)
    draw = np.random.default_rng(0)
    steps = [1] * _CLIENTS if device.type == "cpu" else [1 + client % 2 for client in range(_CLIENTS)]
    xs = [draw.normal(size=(num * size, *spec.features)).astype(np.float32) for num in steps]
    label = np.float32(0) if spec.task == "regression" else np.int64(0)
    shards = [Shard(x=x, y=np.full(len(x), label)) for x in xs]
    with torch.random.fork_rng(devices=generators(device)):
        known = dense_chain(module) is not None  # watching imports 70 MB of torch
        if not known and (operation := _random_operation(module, torch.from_numpy(xs[0].copy()))):
            return (
                f"the model calls {operation}, which draws at random; only dropout layers (nn.Dropout) can be stacked"
            )
        once = TrainingConfig(batch_size=size)
        try:
            engine = VectorisedEngine(module, make_task(None, spec), once, 0, size, device)
            return _dependence(engine, Layout(module).flatten(module), shards)
        except Exception as error:
            return f"the model cannot be mapped over clients ({type(error).__name__}: {error})".splitlines()[0]


def _dependence(engine: VectorisedEngine, parameters: torch.Tensor, shards: list[Shard]) -> str | None:
    together = engine.train(parameters, shards, 1, np.arange(_CLIENTS)).delta
    for group in ([_CLIENTS - 1], [1, 2], [1, 2, 3]):
        apart = engine.train(parameters, [shards[i] for i in group], 1, np.array(group)).delta
        if not torch.equal(apart, together[group]):
            return "the last bits of what a client learns would depend on who is trained with it"
    return None


def _random_operation(module: nn.Module, x: torch.Tensor) -> str | None:
    """The first operation of a training step that draws from torch's generator; our dropout layers do not."""
    copied = mappable(module, ListedDropouts())
    with torch.no_grad(), _Watch() as watch:
        copied(x)
    return watch.found


class _Watch(TorchDispatchMode):
    """Notes operations that torch marks as random."""

    def __init__(self) -> None:
        super().__init__()
        self.found: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and self.found is None:
            self.found = f"torch.{func.overloadpacket.__name__.strip('_')}"
        return func(*args, **(kwargs or {}))
