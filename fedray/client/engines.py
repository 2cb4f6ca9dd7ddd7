"""Which engine trains a model: one client after another, or a block of clients as one stacked problem."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from fedray.client.gradients import dense_chain
from fedray.client.training import TrainingConfig
from fedray.errors import ModelError
from fedray.messages import Ints

EngineName = Literal["sequential", "vectorised"]

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_LARGE = 300_000
"""Parameters from which one client's matrix products fill a processor by themselves."""


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


def choose(module: nn.Module, training: TrainingConfig, sizes: Ints) -> EngineChoice:
    """Chooses by the experiment alone.

    Args:
        module: The model.
        training: What each client does.
        sizes: Training examples of each client of the population.

    Raises:
        ModelError: `training.engine` is vectorised, but the model cannot be stacked.
    """
    largest = int(sizes.max())
    obstacle = _obstacle(module)
    if training.engine == "vectorised" and obstacle is not None:
        raise ModelError(f"training.engine is vectorised, but {obstacle}; set training.engine to auto or sequential")
    if training.engine != "auto":
        return EngineChoice(name=training.engine, why="as set in training.engine", largest_shard=largest)
    obstacle = obstacle or _drawback(module, training, sizes)
    if obstacle is not None:
        return EngineChoice(name="sequential", why=obstacle, largest_shard=largest)
    return EngineChoice(name="vectorised", why="small dense layers are fastest stacked", largest_shard=largest)


def _obstacle(module: nn.Module) -> str | None:
    """Why clients with this model cannot train as one stack, or None."""
    if any(True for _ in module.buffers()):
        return "the model has buffers, such as batch statistics, which stacked training does not update"
    if not all(parameter.requires_grad for parameter in module.parameters()):
        return "some of the model's parameters are frozen"
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            return f"torch.func cannot map {type(layer).__name__} layers over clients"
        if isinstance(layer, _DROPOUTS) and layer.p > 0:
            return "dropout draws at random for each client by itself"
    return None


def _drawback(module: nn.Module, training: TrainingConfig, sizes: Ints) -> str | None:
    """Why stacked training would be slower, or None."""
    num_parameters = sum(parameter.numel() for parameter in module.parameters())
    if dense_chain(module) is None:
        return "models other than chains of dense layers are faster one after another on a processor"
    if num_parameters > _LARGE:
        return f"a model of {num_parameters:,} parameters fills a processor by itself"
    if training.batch_size is None and sizes.max() > 2 * float(np.mean(sizes)):
        return "whole shards of very different sizes would be mostly padding"
    return None
