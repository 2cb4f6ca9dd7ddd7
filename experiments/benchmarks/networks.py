"""The models for runners other than fedray, and parameters as one flat vector.

Shapes: P parameters, in the order of `named_parameters`, which is that of fedray's models.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from experiments.benchmarks.workloads import Workload


def build(workload: Workload) -> nn.Module:
    """The workload's model; its parameters are overwritten before use."""
    if workload.model == "cnn":
        return _cnn(workload)
    widths = [workload.num_features, *workload.hidden, workload.classes]
    layers: list[nn.Module] = [nn.Flatten()] if len(workload.features) > 1 else []
    for width, following in pairwise(widths):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(workload: Workload) -> nn.Module:
    """`simple_cnn` of pfl-research's CIFAR-10 benchmark without dropout, which has no parameters."""
    channels, height, width = workload.features
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128),
        nn.ReLU(),
        nn.Linear(128, workload.classes),
    )


@torch.no_grad()
def bind(module: nn.Module) -> Tensor:
    """Makes all parameters views of one vector, shape (P,), so that one copy loads or saves the module."""
    vector = torch.cat([parameter.reshape(-1) for parameter in module.parameters()])
    start = 0
    for parameter in module.parameters():
        parameter.data = vector[start : start + parameter.numel()].view(parameter.shape)
        start += parameter.numel()
    return vector


def epoch(module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, order: Tensor, batch: int) -> None:
    """One local epoch: the plain loop of every PyTorch tutorial.

    Args:
        module: The model.
        optimizer: Steps its parameters.
        x: Features of one client, (E, *features).
        y: Labels, (E,).
        order: Order of the rows, (E,).
        batch: Rows of a step.
    """
    for rows in order.split(batch):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
        optimizer.step()
