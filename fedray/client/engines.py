"""Which engine trains a model: one client after another, or a block of clients as one stacked problem."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from fedray.client.convolution import StackedConv
from fedray.client.dense import dense_chain
from fedray.client.device import CPU
from fedray.client.recurrent import Layerwise
from fedray.client.training import TrainingConfig
from fedray.client.trial import failed_trial
from fedray.errors import ModelError
from fedray.messages import DataSpec, Ints

EngineName = Literal["sequential", "vectorised"]

_LARGE = 300_000
"""Parameters from which one client's matrix products fill a processor by themselves."""
_LARGE_ON_GPU = 2**24
"""The same for a GPU: of larger models fewer than four fit a stack. An estimate, no GPU was measured."""
_CONV_WORK = 600_000
"""Numbers in the windows and outputs of a batch up to which convolutions are faster stacked: what is larger leaves the
processor's caches. Measured with 25 clients: 1.4 to 6 times as fast at up to 450,000, 0.7 to 0.9 at a million."""
_LSTM_WORK, _GRU_WORK = 640, 4096
"""Batch size times hidden width up to which recurrent layers are faster stacked. Measured with 25 clients, windows of
30: LSTM 2.4 times as fast at 320, 1.2 at 640, 0.8 at 1,024, as torch has a fused one; GRU 7 at 320, 3 at 2,048."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """The engine of an experiment.

    Attributes:
        name: The engine.
        why: For people.
        largest_shard: Training examples of the largest client; stacks are shaped by it.
    """

    name: EngineName
    why: str
    largest_shard: int


def choose(
    module: nn.Module,
    training: TrainingConfig,
    sizes: Ints,
    spec: DataSpec | None = None,
    device: torch.device = CPU,
) -> EngineChoice:
    """Chooses by the experiment alone.

    Args:
        module: The model.
        training: What each client does.
        sizes: Training examples of each client of the population.
        spec: What the data is; None: the model is not tried out.
        device: Where clients train, and where the model is tried out.

    Raises:
        ModelError: `training.engine` is vectorised, but the model cannot be stacked.
    """
    largest = int(sizes.max())
    if training.engine == "sequential":
        return EngineChoice(name="sequential", why="as set in training.engine", largest_shard=largest)
    explicit = training.engine == "vectorised"
    reason = _obstacle(module) or (None if explicit else _drawback(module, training, sizes, spec, device))
    if reason is None and spec is not None:
        reason = failed_trial(module, training, spec, largest, device)
    if explicit and reason is not None:
        raise ModelError(f"training.engine is vectorised, but {reason}; set training.engine to auto or sequential")
    if reason is not None:
        return EngineChoice(name="sequential", why=reason, largest_shard=largest)
    why = "as set in training.engine"
    if not explicit:
        why = f"{_kind(module)} are fastest stacked" if device.type == "cpu" else "one client leaves most of a GPU idle"
    return EngineChoice(name="vectorised", why=why, largest_shard=largest)


def _obstacle(module: nn.Module) -> str | None:
    """Why clients with this model cannot train as one stack, or None."""
    if any(True for _ in module.buffers()):
        return "the model has buffers, such as batch statistics, which stacked training does not update"
    if not all(parameter.requires_grad for parameter in module.parameters()):
        return "some of the model's parameters are frozen"
    for layer in module.modules():
        found = None
        if isinstance(layer, nn.RNNBase):
            found = Layerwise.obstacle(layer)
        elif isinstance(layer, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
            found = StackedConv.obstacle(layer)
        if found is not None:
            return found
    return None


def _drawback(
    module: nn.Module, training: TrainingConfig, sizes: Ints, spec: DataSpec | None, device: torch.device
) -> str | None:
    """Why stacked training would be slower, or None.

    On a GPU the size of layers does not matter, convolutions included: a step of one client is tens of kernels that
    take longer to launch than to run, and in a stack all clients share the launches.
    """
    num_parameters = sum(parameter.numel() for parameter in module.parameters())
    if training.batch_size is None and sizes.max() > 2 * float(np.mean(sizes)):
        return "whole shards of very different sizes would be mostly padding"
    if device.type != "cpu":
        large = num_parameters > _LARGE_ON_GPU
        return f"of a model of {num_parameters:,} parameters too few fit a stack" if large else None
    batch_size = training.effective_batch(int(sizes.max()))
    if num_parameters > _LARGE:
        return f"a model of {num_parameters:,} parameters fills a processor by itself"
    if spec is not None and batch_size * _conv_work(module, spec) > _CONV_WORK:
        return f"convolutions over batches of {batch_size} of this size fill a processor by themselves"
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            limit = _LSTM_WORK if isinstance(layer, nn.LSTM) else _GRU_WORK
            if layer.hidden_size * batch_size > limit:
                kind = type(layer).__name__
                return f"{kind} layers of {layer.hidden_size} on batches of {batch_size} fill a processor by themselves"
    return None


@torch.no_grad()
def _conv_work(module: nn.Module, spec: DataSpec) -> int:
    """Numbers in the windows and outputs of all convolutions, for one example."""
    work: list[int] = []

    def note(layer: nn.Module, inputs: object, outputs: torch.Tensor) -> None:
        weight = next(layer.parameters())
        work.append(outputs[0, 0].numel() * (weight[0].numel() + len(weight)))

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    if layers:
        module.eval()(torch.zeros(1, *spec.features))
    for hook in hooks:
        hook.remove()
    return sum(work)


def _has(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    return any(isinstance(layer, kinds) for layer in module.modules())


def _kind(module: nn.Module) -> str:
    if dense_chain(module) is not None:
        return "small dense layers"
    if _has(module, nn.RNNBase):
        return "small recurrent layers"
    return "small convolutions" if _has(module, nn.Conv1d, nn.Conv2d) else "small models"
